"""New items: one real run, what it gives the new items, and which methods can take part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_agent.evaluation.run import make_train_envs
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.store import read_results
from hsrl_agent.methods import METHODS, find_method
from new_items import ENV, can_transfer, main, transfer


@pytest.mark.slow
def test_a_run(tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The oracle gains by what comes on sale; who learned shows some of it. The second call has nothing to do."""
    call = ["--bundle", str(tiny_bundle_folder), "--methods", "oracle,hsrl", "--steps", "64", "--episodes", "20"]
    call += ["--seeds", "0", "--jobs", "1", "--out", str(tmp_path / "out")]
    assert main(call) == 0
    assert "2 runs: 2 to do" in capsys.readouterr().out
    results = {result.spec.method: result for result in read_results(tmp_path / "out")}
    oracle, hsrl = results["oracle"].extra, results["hsrl"].extra
    assert oracle["after"] == oracle["whole"]
    assert oracle["before"] < oracle["after"]
    assert 0 < hsrl["share_new"] < 1
    assert results["hsrl"].score.total_reward == hsrl["after"]
    assert results["hsrl"].spec.protocol_kwargs == {"percent_new": 50}
    table = (tmp_path / "out" / "new_items.md").read_text(encoding="utf-8")
    assert f"| HSRL | {hsrl['before']:.2f} [n/a] | {hsrl['after']:.2f} [n/a] | {hsrl['whole']:.2f} [n/a] |" in table
    assert "50% of the items were not on sale" in table
    assert main(call) == 0
    assert "2 runs: 2 found finished" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["sl", "hac", "hsrl"])
def test_new_items_come_with_nothing_of_their_own(name: str, tiny_bundle_folder: Path) -> None:
    spec, method = RunSpec("t", ENV, name, 0, 64, str(tiny_bundle_folder), n_envs=8), find_method(name)
    agent, learned = (method.make(make_train_envs(spec, method.action_mode), 0) for _ in range(2))
    network, other = (getattr(one, "policy", one).network for one in (agent, learned))  # type: ignore[attr-defined]
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(1.0)
    transfer(agent, learned, np.array([2, 5]))
    free, known = network.encoder.item_free.weight, other.encoder.item_free.weight
    assert (free[[2, 5]] == 0).all()
    assert torch.equal(free[[1, 3, 4, 6]], known[[1, 3, 4, 6]])
    if name == "hac":
        assert (network.kernel_free[[1, 4]] == 0).all()
        assert torch.equal(network.kernel_free[[0, 2, 3]], other.kernel_free[[0, 2, 3]])


def test_sl_acts_without_dropout_after_a_transfer(tiny_bundle_folder: Path) -> None:
    spec, method = RunSpec("t", ENV, "sl", 0, 64, str(tiny_bundle_folder), n_envs=8), find_method("sl")
    agent, learned = (
        method.make(make_train_envs(spec, method.action_mode), 0, settings={"dropout": 0.5, "max_epochs": 1})
        for _ in range(2)
    )
    learned.learn(1)
    transfer(agent, learned, np.array([], dtype=int))
    observation: Any = make_train_envs(spec, method.action_mode).reset()
    np.testing.assert_array_equal(agent.predict(observation)[0], learned.predict(observation)[0])


def test_methods_that_cannot_take_what_they_learned_along() -> None:
    assert {name for name, method in METHODS.items() if not can_transfer(method)} == {"popularity", "ddpg", "td3"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["--methods", "hslr"], "unknown method 'hslr'; did you mean hsrl"),
        (["--methods", "ddpg"], "got the method 'ddpg', which cannot take what it learned to another catalog"),
        (["--percent-new", "95"], "--percent-new: got 95, expected 1 to 90"),
        (["--percent-new", "0"], "--percent-new: got 0, expected a whole number of at least 1"),
    ],
)
def test_a_call_that_cannot_be(call: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(call) == 2
    assert message in capsys.readouterr().err
