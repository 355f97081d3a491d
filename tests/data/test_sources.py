"""What is said of the public data sets."""

from __future__ import annotations

from hsrl_gym.data.sources import DATASETS


def test_every_source_is_complete() -> None:
    assert sorted(DATASETS) == ["kuairand-pure", "ml100k", "ml1m", "rl4rs"]
    for source in DATASETS.values():
        assert source.url.startswith("https://")
        assert source.url.endswith(source.archive)
        assert source.files
        assert source.licence
        assert source.citation
        assert source.loader
