"""Results made by hand, for tests of what is done with results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hsrl_agent.evaluation.result import CurvePoint, DataFacts, Provenance, RunResult, Score
from hsrl_agent.evaluation.spec import RunSpec


def score(total_reward: float, depth: float | None = None) -> Score:
    """Return a score with that Total Reward."""
    return Score(total_reward, 0.1, total_reward + 1.0 if depth is None else depth, 0.1, 0.5)


def make_result(
    method: str, seed: int, reward: float, task: str = "ML1M", true: float | None = None, **changes: Any
) -> RunResult:
    """Return the result of a run; `true` is Total Reward by the true user, `changes` are of spec or result."""
    spec = RunSpec(task, f"HSRL-{task}-v0", method, seed, 3_200)
    of_spec = {name: changes.pop(name) for name in list(changes) if name in RunSpec.__dataclass_fields__}
    result = RunResult(
        key=f"{task}-{method}-{seed}",
        spec=replace(spec, **of_spec),
        score=score(reward),
        true_score=None if true is None else score(true),
        train_score=None,
        learns_online=method not in ("random", "popularity", "oracle", "sl"),
        curve=(CurvePoint(0, 0.0, 1.0, 2.0), CurvePoint(3_200, 2.0, reward, reward + 1.0)),
        step_profile={"reward": [0.5, None], "playing": [1.0, 0.0]},
        metrics={},
        codebook={"vocabulary": [8, 8], "used_tokens": [8, 8], "perplexity": [7.0, 7.0], "n_collisions": 0, "use": []},
        session={"reward": "mean_with_cost", "slate_size": 10},
        data=DataFacts("x", "SyntheticWorld('x', seed=0)", "abc", None),
        train_seconds=2.0,
        eval_seconds=1.0,
        provenance=Provenance("0123456789abcdef", "c0de", "abacus", {"python": "3.11"}, "2026-01-01T00:00:00+00:00"),
    )
    return replace(result, **changes)
