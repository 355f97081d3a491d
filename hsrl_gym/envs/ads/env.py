"""`HSRL-Ads-v0`, single and vector: shells around `AdsSessions`."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from hsrl_gym.envs.ads.sessions import AdsSessions, open_sessions
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.render import check_render_mode
from hsrl_gym.envs.vector_env import VECTOR_ARGUMENTS, SlateVectorEnv
from hsrl_gym.errors import HsrlError


class AdsEnv(SlateEnv):
    """One ad a request, out of 500 recalled candidates, in a market of 200,000 ads of which half are on sale.

    ## Description
    The stand-in for the industrial data of Table 1: about 100,000 ads on sale a day, a slate of one, and a catalog that
    turns over daily. Campaigns start, end, or run out of budget; about 7,000 ads a day come and as many go. Users click
    and buy by a known formula (`AdsWorld`).

    ## Action Space
    - `action_mode="sid"`: `MultiDiscrete([V_1, .., V_L])`, one semantic ID. The candidate with the longest common
      prefix is shown, and of these the nearest by centroid distance. Every action is executable.
    - `"item"`: `MultiDiscrete([500])`; action a shows candidate number a, counted from 0.

    ## Observation Space
    `Dict(profile=Box((P,), float32), history=Box((H,), int32), candidates=Box((500,), int32))`: profile, ids of the ads
    clicked, latest last, padded with 0 on the left, and the ids of the ads that this request may show, all different,
    all on sale.

    ## Rewards
    `reward="mean_with_cost"`: 1 for a click, -`miss_cost` for none. `"conversion"`: the worth of a conversion to the
    advertiser, 1 on average. `"revenue"`: what the advertiser pays, the bid for a click, 1 on average.

    ## Starting State
    A logged request of a user, with the clicks until then, chosen by the seed and the number of the episode, or by
    `reset(options={"user": row of the pool})`.

    ## Episode End
    Terminated when patience falls below 1; as in `SlateEnv`, and under every reward rule by clicks alone. Truncated
    after `max_steps`.

    ## Info
    `slate` (1,), `clicks` (1,), `conversions` (1,), `cost` (1,), `slate_tokens` (1, L), `patience`, `patience_before`,
    `user`, and `day`, that of the next request; after a reset as in `SlateEnv`. Only on the last step of a day there
    are also `arrived` and `retired`, the ids that came and went after it, and `spent`, those of the retired whose
    budget was spent.

    ## Arguments
    - `market`: settings of `AdsConfig` as a dict, for instance `{"n_ads": 2_000, "n_campaigns": 250}`; `market_seed=0`.
    - `steps_per_day=200`: steps of this environment, or of the whole batch, until the next day. `start_day=0`.
    - `simulator`: `"train"` (default) plays the first 80% of the users; `"eval"` and `"true"` play the others.
    - `action_mode`: `"sid"` (default) or `"item"`.
    - `reward`: see Rewards; `miss_cost=0.1`.
    - `patience`, `initial_patience`, `max_steps`, `device`, `render_mode`: as in `SlateEnv`.

    ## Version History
    - v0: first version.
    """

    sessions: AdsSessions

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        """Make or find the market; `settings` are those of the class docstring's Arguments."""
        # Not SlateEnv's own: there is no bundle to open.
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.sessions = open_sessions(settings, ("render_mode",))
        self.bundle = self.sessions.bundle
        self.observation_space = self.sessions.observation_space
        self.action_space = self.sessions.candidate_mode.space
        self._state = None
        self._shown = None

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the flat mask (sum(nvec),) bool of tokens that some candidate of this request has.

        Raises:
            HsrlError: before the first reset.
        """
        if self._state is None:
            raise HsrlError("action_masks() came before reset(); call reset() first.")
        masks: NDArray[np.bool_] = self.sessions.masks(self._state)[0]
        return masks


class AdsVectorEnv(SlateVectorEnv):
    """B sessions of `AdsEnv` in one batch, on the same day of the same market.

    All environments step together, so the day is the same for all: after `reset(seed=s)`, environment i equals, step
    for step, the single environment after `reset(seed=s + i)`.
    """

    sessions: AdsSessions

    def __init__(
        self,
        num_envs: int = 1,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        **settings: Any,
    ) -> None:
        """Make or find the market for `num_envs` users; `settings` are those of `AdsEnv`."""
        # Not SlateVectorEnv's own: there is no bundle to open.
        self._take_modes(num_envs, render_mode, autoreset_mode)
        self.sessions = open_sessions(settings, VECTOR_ARGUMENTS)
        self.bundle = self.sessions.bundle
        self._take_spaces(self.sessions.candidate_mode.space)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the masks (B, sum(nvec)) bool of tokens that some candidate of each request has."""
        return self.sessions.masks(self.state)
