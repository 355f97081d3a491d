"""Results of runs that nobody ran, for the tests of what people see of them."""

from __future__ import annotations

from typing import Any

from hsrl_agent.evaluation.result import CurvePoint, DataFacts, Provenance, RunResult, Score
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.methods import METHODS

ENVS = {"ML1M": "HSRL-ML1M-v0", "RL4RS": "HSRL-RL4RS-v0"}
RULES = {"ML1M": "mean_with_cost", "RL4RS": "sweet_point"}
PROFILE = {"reward": [0.9, 0.8, None], "playing": [1.0, 0.5, 0.0]}
CODEBOOK = {
    "vocabulary": [4, 4],
    "used_tokens": [4, 3],
    "perplexity": [3.9, 2.5],
    "n_collisions": 2,
    "use": [[9, 8, 7, 6], [15, 10, 5, 0]],
}
LEVEL_METRICS = {
    "steps": [1600, 3200],
    **{f"mlc_weight_{level}": [0.25, 0.2 + 0.05 * level] for level in range(4)},
    **{f"value_{level}": [1.0, 2.0] for level in range(4)},
    **{f"entropy_{level}": [4.0, 2.0] for level in range(1, 4)},
}


def score(total_reward: float, depth: float | None = None) -> Score:
    """Return a score without standard errors."""
    return Score(total_reward, None, total_reward + 1.0 if depth is None else depth, None, 0.5)


def make_result(method: str, seed: int, reward: float, task: str = "ML1M", **changes: Any) -> RunResult:
    """Return the result of a run.

    Args:
        method: name.
        seed: of the run.
        reward: Total Reward by the `eval` user.
        task: "ML1M" or "RL4RS" on the packaged bundle, any other name for a bundle of one's own.
        changes: `true` and `train` for Total Reward by those users; `source`, `packaged` and `name` of the data;
            `commit` and `code`; fields of `RunSpec`; other fields of `RunResult`.
    """
    spec_fields = {name: changes.pop(name) for name in list(changes) if name in RunSpec.__dataclass_fields__}
    spec = RunSpec(
        task,
        spec_fields.pop("env", ENVS.get(task, "HSRL-Bundle-v0")),
        method,
        seed,
        spec_fields.pop("steps", 3200),
        **{"n_checkpoints": 2, **spec_fields},
    )
    online = METHODS[method].learns_online if method in METHODS else True
    curve = ((0, 0.0, 1.0, 2.0), (1600, 1.0, reward - 1.0, 3.0), (3200, 2.0, reward, reward + 1.0))
    true, train = changes.pop("true", None), changes.pop("train", None)
    name = changes.pop("name", task.lower())
    data = DataFacts(
        name,
        changes.pop("source", "SyntheticWorld('x', seed=0)"),
        "ab" * 32,
        changes.pop("packaged", name if task in ENVS else None),
    )
    commit, code = changes.pop("commit", "0123456789abcdef"), changes.pop("code", "c0de")
    made = Provenance(commit, code, "abacus", {"python": "3.11.7", "torch": "2.13.0"}, "2026-11-22T08:35:27+00:00")
    known: dict[str, Any] = {
        "key": f"{spec.name}",
        "spec": spec,
        "score": score(reward),
        "true_score": None if true is None else score(true),
        "train_score": None if train is None else score(train),
        "learns_online": online,
        "curve": tuple(CurvePoint(*point) for point in (curve if online else curve[-1:])),
        "step_profile": {},
        "metrics": {},
        "codebook": {},
        "session": {"reward": RULES.get(task, "mean_with_cost"), "slate_size": 9},
        "data": data,
        "train_seconds": 2.0,
        "eval_seconds": 1.0,
        "provenance": made,
    }
    return RunResult(**{**known, **changes})


HSRL_RUNS = [make_result("hsrl", seed, reward) for seed, reward in enumerate((10.0, 12.0, 11.0))]
A2C_RUNS = [make_result("a2c", seed, reward) for seed, reward in enumerate((9.0, 13.0))]
RANDOM_RUN = make_result("random", 5, 2.0)
