"""The typed result of one run, and its form as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from hsrl_agent.evaluation.provenance import Provenance as Provenance
from hsrl_agent.evaluation.spec import SCHEMA, RunSpec
from hsrl_gym.errors import HsrlError


@dataclass(frozen=True)
class Score:
    """What n sessions brought by one user: means over the sessions, their standard errors, clicks per item shown."""

    total_reward: float
    total_reward_se: float | None
    depth: float
    depth_se: float | None
    click_rate: float


class CurvePoint(NamedTuple):
    """A point of the learning curve: user-steps and seconds of learning so far, and what the greedy policy brings."""

    steps: int
    seconds: float
    total_reward: float
    depth: float


@dataclass(frozen=True)
class DataFacts:
    """The bundle of a run.

    Attributes:
        name, source: the bundle's own.
        digest: sha256 of its content.
        packaged: name of the packaged bundle that has this content, None for all others.
    """

    name: str
    source: str
    digest: str
    packaged: str | None


JUDGES = {"true_user": "true_score", "train_user": "train_score"}  # second users: field of a result


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Attributes:
        key: `RunSpec.key` of the spec.
        spec: what was run.
        score: by the `eval` user, on held-out users.
        true_score: by the true user, None where nobody knows that one or it is the eval user itself.
        train_score: by the `train` user that agents learned from; only where the true user is not known.
        learns_online: whether the method learns by acting.
        curve: the learning curve, the final score last.
        step_profile: "reward" and "playing" for steps 1 to the horizon: mean reward of those still playing (None where
            nobody is), and their share.
        metrics: what the agent said of itself, a list a name, beside "steps"; {} if it says nothing.
        codebook: vocabulary, use and perplexity of the SIDs.
        session: `SessionParams` as plain data.
        data: the bundle.
        train_seconds, eval_seconds: of learning, of scoring.
        provenance: versions, code, machine.
        extra: further numbers of the protocol by name.
        kind: what the run was compared for, one of `report.write.KINDS`; "" where nobody has said it.
    """

    key: str
    spec: RunSpec
    score: Score
    true_score: Score | None
    train_score: Score | None
    learns_online: bool
    curve: tuple[CurvePoint, ...]
    step_profile: Mapping[str, list[float | None]]
    metrics: Mapping[str, list[Any]]
    codebook: Mapping[str, Any]
    session: Mapping[str, Any]
    data: DataFacts
    train_seconds: float
    eval_seconds: float
    provenance: Provenance
    extra: Mapping[str, float] = field(default_factory=dict)
    kind: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return {"schema": SCHEMA, **asdict(self), "curve": [list(point) for point in self.curve]}

    @classmethod
    def from_dict(cls, row: Any) -> RunResult:
        """Return the result that `to_dict` made `row` from.

        Raises:
            HsrlError: if it is none, with what was found.
        """
        if not isinstance(row, dict) or row.get("schema") != SCHEMA:
            got = row.get("schema") if isinstance(row, dict) else type(row).__name__
            raise HsrlError(f"got a result of schema {got!r}, expected {SCHEMA}; run it again with this version.")
        parts = {name: value for name, value in row.items() if name != "schema"}
        kinds = {"spec": RunSpec, "score": Score, "data": DataFacts, "provenance": Provenance}
        try:
            for name, kind in kinds.items():
                parts[name] = kind(**parts[name])
            for name in ("true_score", "train_score"):
                parts[name] = None if parts[name] is None else Score(**parts[name])
            parts["curve"] = tuple(CurvePoint(*point) for point in parts["curve"])
            result = cls(**parts)
        except (KeyError, TypeError) as error:
            raise HsrlError(f"got a damaged result ({error}), expected {[one.name for one in fields(cls)]}.") from None
        for name in ("total_reward", "depth", "click_rate"):
            if not isinstance(getattr(result.score, name), int | float):
                raise HsrlError(f"got {name} {getattr(result.score, name)!r} in a result, expected a number.")
        return result
