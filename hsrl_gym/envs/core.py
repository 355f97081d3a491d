"""The session as pure functions over a batch of users: no gym, no numpy, no loop per user.

Letters: B users at once, K slate size, H history length, P profile width, M users in the pool.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional

from hsrl_gym.envs.rules import PATIENCE, REWARDS
from hsrl_gym.envs.settings import finite_number, whole_number
from hsrl_gym.errors import HsrlError, unknown_name
from hsrl_gym.users.responses import Respond

LEAVES_BELOW = 1.0  # a user whose patience is below this leaves
_ARRIVAL = -1  # the step number whose noise chooses the user


@dataclass(frozen=True)
class SessionParams:
    """The rules of a session, constant while it runs.

    Attributes:
        slate_size: K.
        reward: name of a rule in `rules.REWARDS`.
        patience: name of a rule in `rules.PATIENCE`.
        max_steps: horizon; reaching it is truncation.
        initial_patience: patience on arrival.
        miss_cost: c, cost of an item without a click (0.1; the paper's bound of -0.2 means c = 0.2).

    Raises:
        HsrlError: for an unknown rule, or a size below 1.
    """

    slate_size: int
    reward: str = "mean_with_cost"
    patience: str = "reference"
    max_steps: int = 20
    initial_patience: float = 20.0
    miss_cost: float = 0.1

    def __post_init__(self) -> None:
        if self.reward not in REWARDS:
            raise unknown_name("reward rule", self.reward, REWARDS)
        if self.patience not in PATIENCE:
            raise unknown_name("patience rule", self.patience, PATIENCE)
        whole_number("slate_size", self.slate_size, 1)
        whole_number("max_steps", self.max_steps, 1)
        finite_number("initial_patience", self.initial_patience, LEAVES_BELOW)
        finite_number("miss_cost", self.miss_cost)


@dataclass(frozen=True)
class SessionState:
    """State of B sessions.

    Attributes:
        user: (B,) int64, row of the user pool.
        history: (B, H) int64, clicked item ids, latest last, right-aligned, 0 for padding.
        patience: (B,) float32.
        streak: (B,) int64, unrewarded steps in a row (kept by the patience rule `streak`).
        step: (B,) int64, slates shown so far.
        seed: (B,) int64, seed of each environment.
        episode: (B,) int64, sessions that each environment has finished.
        stream: (B,) int64, hash of seed and episode; with step and slot it determines the noise.
    """

    user: Tensor
    history: Tensor
    patience: Tensor
    streak: Tensor
    step: Tensor
    seed: Tensor
    episode: Tensor
    stream: Tensor

    def where(self, chosen: Tensor, other: SessionState) -> SessionState:
        """Return this state in the rows where `chosen` (B,) is true, and `other` in the rest."""
        return SessionState(
            **{
                field.name: torch.where(
                    chosen.view(-1, *(1,) * (getattr(self, field.name).dim() - 1)),
                    getattr(self, field.name),
                    getattr(other, field.name),
                )
                for field in fields(self)
            }
        )

    def take(self, rows: Tensor) -> SessionState:
        """Return the state of some sessions, given by their rows (P,)."""
        return SessionState(**{field.name: getattr(self, field.name).index_select(0, rows) for field in fields(self)})

    def put(self, rows: Tensor, part: SessionState) -> SessionState:
        """Return this state with the rows (P,) of another one of P sessions."""
        return SessionState(
            **{
                field.name: getattr(self, field.name).index_copy(0, rows, getattr(part, field.name))
                for field in fields(self)
            }
        )


@dataclass(frozen=True)
class Outcome:
    """Result of one step.

    Attributes:
        probability: (B, K) float32, of a click on each item.
        clicks: (B, K) float32, 0 or 1.
        reward: (B,) float32.
        terminated, truncated: (B,) bool.
    """

    probability: Tensor
    clicks: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor


class SlateCore:
    """Sessions of users drawn from a pool, who click according to a click model (3.1)."""

    def __init__(self, respond: Respond, profiles: Tensor, histories: Tensor, params: SessionParams) -> None:
        """Take the pool's responses, profiles (M, P) float32 and initial histories (M, H), all on one device.

        Raises:
            HsrlError: for a history with padding behind an item.
        """
        if bool(((histories[:, :-1] > 0) & (histories[:, 1:] == 0)).any()):
            raise HsrlError("got a history with padding behind an item, expected padding on the left only.")
        self.respond = respond
        self.profiles = profiles
        self.histories = histories.long()
        self.params = params
        self._slots = torch.arange(1, params.slate_size + 1, device=profiles.device)

    def initial(self, seed: Tensor, episode: Tensor) -> SessionState:
        """Return arriving users; each is drawn from the pool by (seed, episode) alone."""
        stream = _mix(_mix(seed) + episode)
        arrival = torch.full_like(seed, _ARRIVAL)
        user = (_noise(stream, arrival, self._slots[:1])[:, 0] >> 1 & _bits(62)) % len(self.profiles)
        return SessionState(
            user=user,
            history=self.histories.index_select(0, user),
            patience=torch.full_like(seed, self.params.initial_patience, dtype=torch.float32),
            streak=torch.zeros_like(seed),
            step=torch.zeros_like(seed),
            seed=seed,
            episode=episode,
            stream=stream,
        )

    @torch.no_grad()
    def transition(self, state: SessionState, slate: Tensor) -> tuple[SessionState, Outcome]:
        """Show slates (B, K) of item ids; return the next state and the outcome (eq. 5)."""
        params = self.params
        draw = _uniform(_noise(state.stream, state.step, self._slots))
        probability = self.respond(state.user, state.history, slate)
        clicks = (draw < probability).to(torch.float32)
        reward = REWARDS[params.reward](clicks, params.miss_cost)
        patience, streak = PATIENCE[params.patience](state.patience, state.streak, reward, params.slate_size)
        step = state.step + 1
        terminated = patience < LEAVES_BELOW
        truncated = (step >= params.max_steps) & ~terminated
        history = append_clicked(state.history, slate, clicks)
        after = SessionState(state.user, history, patience, streak, step, state.seed, state.episode, state.stream)
        return after, Outcome(probability, clicks, reward, terminated, truncated)

    def replace_finished(self, state: SessionState, finished: Tensor) -> SessionState:
        """Return the state with new arrivals in the rows where `finished` (B,) is true."""
        return self.initial(state.seed, state.episode + 1).where(finished, state)

    def seat(self, state: SessionState, user: Tensor) -> SessionState:
        """Return the state of arrivals in which they are the users (B,) of the pool; the noise stays that of theirs."""
        return replace(state, user=user, history=self.histories.index_select(0, user))

    def observation(self, state: SessionState) -> dict[str, Tensor]:
        """Return profile (B, P) float32 and history (B, H) int64."""
        return {"profile": self.profiles.index_select(0, state.user), "history": state.history}


def append_clicked(history: Tensor, slate: Tensor, clicks: Tensor) -> Tensor:
    """Return the last H items of history (B, H) followed by the clicked items of slate (B, K), in slate order."""
    length, slate_size = history.shape[1], slate.shape[1]
    clicked = clicks.long()
    rank = clicked.cumsum(1)  # 1 for the first clicked item of a slate
    longer = functional.pad(history, (1, slate_size))
    longer.scatter_(1, (rank + length) * clicked, slate)  # items without a click go to the extra column in front
    kept = torch.arange(1, length + 1, device=history.device) + rank[:, -1:]
    return longer.gather(1, kept)


def _noise(stream: Tensor, step: Tensor, slots: Tensor) -> Tensor:
    """Return random bits (B, n) int64 that depend on (seed, episode, step, slot) alone.

    A counter-based generator (the finalizer of SplitMix64, applied to each counter in turn) has no state. So an
    environment draws the same numbers alone and in a batch of any size.
    """
    return _mix(_mix(stream + step).unsqueeze(1) + slots * _GOLDEN)


def _mix(bits: Tensor) -> Tensor:
    bits = bits + _GOLDEN
    bits = bits.bitwise_xor_((bits >> 30).bitwise_and_(_bits(34))).mul_(_FIRST)
    bits = bits.bitwise_xor_((bits >> 27).bitwise_and_(_bits(37))).mul_(_SECOND)
    return bits.bitwise_xor_((bits >> 31).bitwise_and_(_bits(33)))


def _uniform(bits: Tensor) -> Tensor:
    """Return float32 in [0, 1) from the upper 24 of 64 random bits."""
    return (bits >> 40).bitwise_and_(_bits(24)).to(torch.float32).mul_(2.0**-24)


def _bits(count: int) -> int:
    return (1 << count) - 1


def _signed(value: int) -> int:
    """Return an unsigned 64-bit constant as the signed integer torch takes; products wrap around."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN, _FIRST, _SECOND = (_signed(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
