"""Profiles of sessions and the use of the codebook."""

from __future__ import annotations

import numpy as np
from made_results import CODEBOOK, PROFILE, make_result

from hsrl_agent.evaluation.report.figures import GREY
from hsrl_agent.evaluation.report.grouping import group
from hsrl_agent.evaluation.report.sessions import (
    PLAYING,
    REWARD,
    codebook_figure,
    codebook_of,
    mean_profile,
    profile_figure,
    with_profile,
)
from hsrl_agent.methods import METHODS


def test_profile_is_a_mean_over_seeds() -> None:
    means = mean_profile([[1.0, 0.5, None], [0.0, None]])
    assert means[:2].tolist() == [0.5, 0.5]
    assert np.isnan(means[2])  # nobody played
    assert mean_profile([[1.0, 0.5], [1.0]], beyond=0.0).tolist() == [1.0, 0.25]


def test_only_lines_with_a_profile_are_drawn() -> None:
    told = [make_result(name, 0, float(place), step_profile=PROFILE) for place, name in enumerate(METHODS)]
    lines = group([*told, make_result("m:Untold", 0, 1.0)])["ML1M"]
    known = with_profile(lines)
    assert len(known) == len(METHODS)
    axes = profile_figure(known, REWARD).axes[0]
    assert sum(line.get_color() == GREY for line in axes.lines) == len(METHODS) - 5 + 1  # one stands in the legend
    assert profile_figure(known, PLAYING).axes[0].lines[0].get_ydata().tolist() == [1.0, 0.5, 0.0]


def test_codebook() -> None:
    lines = group([make_result("sl", 0, 1.0), make_result("hsrl", 0, 1.0, codebook=CODEBOOK)])["ML1M"]
    book = codebook_of(lines)
    assert book is not None
    assert [line.get_ydata().tolist() for line in codebook_figure(book).axes[0].lines] == CODEBOOK["use"]
    assert codebook_of(lines[:1]) is None
