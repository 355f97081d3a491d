"""The pictures: what is drawn, read off the figure itself, and that the same data give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.image import imread

from hsrl_gym.figures import draw_codebook_use, draw_fidelity, draw_reliability
from hsrl_gym.items.codebook import Codebook
from hsrl_gym.users.slices import Slice, SliceScore

FIDELITY: dict[str, dict[str, Any]] = {
    "train": {
        "seen_in_fit": False,
        "auc": 0.75,
        "log_loss": 0.5,
        "ece": 0.0123,
        "reliability": [[0.1, 0.2, 100], [0.5, 0.4, 100], [0.9, 1.0, 25]],
    },
    "eval": {"seen_in_fit": True, "auc": 0.8, "log_loss": 0.4, "ece": 0.02, "reliability": [[0.3, 0.3, 4]]},
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """Figures that were written, in order."""
    figures: list[matplotlib.figure.Figure] = []
    write = matplotlib.figure.Figure.savefig

    def savefig(figure: matplotlib.figure.Figure, *arguments: Any, **settings: Any) -> None:
        figures.append(figure)
        write(figure, *arguments, **settings)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)
    return figures


def codebook() -> Codebook:
    """Five live items: token 0 of level 1 four times, 2 once; of level 2 two, two and one. A sixth is retired."""
    codes = [(-1, -1), (0, 0), (0, 1), (0, 1), (0, 2), (2, 0), (-1, -1)]
    centroids = tuple(np.arange(size, dtype=np.float32)[:, None] for size in (4, 3))
    zeros = np.zeros(7, dtype=np.float32)
    return Codebook(centroids, np.array(codes, np.int32), zeros[:1], zeros[:1] + 1, zeros[:, None], zeros)


def test_reliability(tmp_path: Path, drawn: list[matplotlib.figure.Figure]) -> None:
    draw_reliability(FIDELITY, tmp_path / "reliability.png")
    train, score = drawn[0].axes
    assert train.get_title() == "train user, on held-out time\nAUC 0.7500, log-loss 0.5000, ECE 0.0123"
    assert score.get_title().startswith("eval user, on its own training data\n")
    container: Any = train.containers[0]
    points = container.lines[0]
    np.testing.assert_allclose(points.get_xdata(), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(points.get_ydata(), [0.2, 0.4, 1.0])
    bars = np.array([segment[:, 1] for segment in container.lines[2][0].get_segments()])
    half = 1.96 * np.sqrt(np.array([0.2 * 0.8, 0.4 * 0.6]) / 100)
    np.testing.assert_allclose(bars[:2], np.array([[0.2, 0.2], [0.4, 0.4]]) + np.outer(half, [-1, 1]))
    assert train.get_xlabel() == "predicted click probability"
    image = imread(tmp_path / "reliability.png")
    assert image.shape[1] > image.shape[0] > 100
    assert image.std() > 0.01


def test_one_user_is_one_panel(tmp_path: Path, drawn: list[matplotlib.figure.Figure]) -> None:
    draw_reliability({"eval": FIDELITY["eval"]}, str(tmp_path / "one.png"))
    assert len(drawn[0].axes) == 1


def test_codebook_use(tmp_path: Path, drawn: list[matplotlib.figure.Figure]) -> None:
    draw_codebook_use(codebook(), tmp_path / "codebook.png")
    panels: list[Any] = drawn[0].axes
    first, second = panels
    assert [bar.get_height() for bar in first.patches] == [4, 1, 0, 0]
    assert [bar.get_height() for bar in second.patches] == [2, 2, 1]
    entropy = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    assert first.get_title() == f"level 1: perplexity {np.exp(entropy):.1f} of 4"
    assert drawn[0].get_suptitle() == "5 items, 4 SIDs, 1 collisions"
    assert imread(tmp_path / "codebook.png").std() > 0.01


def test_fidelity(tmp_path: Path, drawn: list[matplotlib.figure.Figure]) -> None:
    slices = [
        Slice("slot", "1", 100, 0.5, {"train": SliceScore(0.7, 0.6, 0.55), "eval": SliceScore(0.8, 0.5, 0.5)}),
        Slice("slot", "2", 25, 0.2, {"train": SliceScore(0.6, 0.6, 0.1), "eval": SliceScore(0.75, 0.5, 0.2)}),
        Slice("history", "0", 125, 0.4, {"train": SliceScore(0.65, 0.6, 0.4), "eval": SliceScore(0.7, 0.5, 0.4)}),
    ]
    draw_fidelity(slices, tmp_path / "fidelity.png")
    panels: list[Any] = drawn[0].axes
    assert len(panels) == 4  # two kinds, error above and AUC below
    lines = {line.get_label(): line.get_ydata() for line in panels[0].lines}
    np.testing.assert_allclose(lines["train"], [0.05, -0.1], atol=1e-9)
    np.testing.assert_allclose(lines["eval"], [0.0, 0.0], atol=1e-9)
    band = panels[0].collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(1.96 * np.sqrt(0.2 * 0.8 / 25))
    lower = {line.get_label(): line.get_ydata() for line in panels[2].lines}
    np.testing.assert_allclose(lower["train"], [0.7, 0.6])
    assert [text.get_text() for text in panels[2].get_xticklabels()] == ["1", "2"]
    assert panels[3].get_xlabel() == "clicks in the history"
    assert "mean prediction and AUC on logged slates" in drawn[0].get_suptitle()
    named = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert named == ["95% interval of the observed rate", "train user", "eval user"]
    assert imread(tmp_path / "fidelity.png").std() > 0.01


def test_an_auc_that_is_undefined_is_a_gap(tmp_path: Path, drawn: list[matplotlib.figure.Figure]) -> None:
    aucs = {"slot": [0.7, float("nan"), 0.6], "history": [float("nan")]}
    slices = [
        Slice(kind, str(place), 100, 0.5, {"train": SliceScore(auc, 0.6, 0.55)})
        for kind, values in aucs.items()
        for place, auc in enumerate(values)
    ]
    draw_fidelity(slices, tmp_path / "fidelity.png")
    panels: list[Any] = drawn[0].axes
    assert np.isnan(panels[2].lines[0].get_ydata()).tolist() == [False, True, False]
    assert 0.5 < panels[2].get_ylim()[0] < panels[2].get_ylim()[1] < 0.8
