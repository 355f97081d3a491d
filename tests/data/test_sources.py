"""What is said of the public data sets."""

from __future__ import annotations

from hsrl_gym.data.readers import READERS
from hsrl_gym.data.sources import DATASETS


def test_every_source_is_complete() -> None:
    for source in DATASETS.values():
        assert source.url.startswith("https://")
        assert source.url.endswith(source.archive)
        assert source.files
        assert source.licence
        assert source.citation


def test_everything_that_is_fetched_can_be_read() -> None:
    assert set(DATASETS) <= set(READERS)
