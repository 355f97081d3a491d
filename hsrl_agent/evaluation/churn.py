"""What the churn protocols share: a catalog with items held back, an agent that lives in it, and its judges.

Nothing here teaches anybody anything by scoring: those who score have neither churn nor onboarding.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from hsrl_agent.evaluation.curve import Progress
from hsrl_agent.evaluation.run import Learned, learn, make_eval_envs
from hsrl_agent.evaluation.scoring import Scores, evaluate, undisturbed
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.method import Agent, Method
from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.bundle.simulators import knows_world
from hsrl_gym.envs.churn import Churn, Turnover, open_turnover
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.users.true_user import TRUE_USER, TrueUsers

READ_NO_VECTORS = ("random", "popularity", "oracle")  # methods to whom onboarding means nothing
REWARD, TRUE_REWARD, SHARE, CLICKS = "reward", "true_reward", "share_new", "new_click_rate"  # of a stage


def entry(stage: str, what: str) -> str:
    """Return the name of a number of a stage in `RunResult.extra`."""
    return f"{stage}.{what}"


def still(spec: RunSpec) -> Churn:
    """Return the churn that holds items back and does nothing else."""
    return Churn(arrive=0.0, retire=0.0, cooldown=0, **_held_back(spec))


def daily(spec: RunSpec) -> Churn:
    """Return the churn of a run in which each day replaces a share of the catalog."""
    days = spec.protocol_kwargs
    return Churn(every=days["every"], arrive=days["arrive"], **_held_back(spec))


def _held_back(spec: RunSpec) -> dict[str, Any]:
    asked = spec.protocol_kwargs
    return {"held_back": asked["held_back"], "arrivals": asked["arrivals"], "seed": spec.seed}


def open_catalog(churn: Churn, spec: RunSpec, bundle: Bundle) -> Turnover:
    """Return the turnover of a bundle's catalog, with the catalog as it is before anything was learned."""
    return open_turnover(churn, bundle, spec.all_env_kwargs().get("slate_size") or bundle.slate_size)


def twin(catalog: Catalog) -> Catalog:
    """Return a copy of a catalog that changes by itself; what never changes is shared."""
    return copy.deepcopy(catalog, {id(catalog.codebook): catalog.codebook})


def can_follow(method: Method) -> bool:
    """Return whether the agents of a method, or their policies, can be led from one catalog to another."""
    policy = method.policy
    if isinstance(policy, str):
        policy = getattr(method.agent_class, "policy_aliases", {}).get(policy)
    return any(hasattr(one, "follow") for one in (method.agent_class, policy))


def onboarding_of(spec: RunSpec) -> Mapping[str, Any] | None:
    """Return the onboarding of a run for `gym.make`: settings, {} for the defaults, None for none."""
    asked = spec.protocol_kwargs["onboarding"]
    if isinstance(asked, bool):
        return {} if asked else None
    settings: Mapping[str, Any] = asked
    return settings


@dataclass
class Resident:
    """An agent and the catalog that it lives in, whose users teach it as long as it lives there.

    Attributes:
        agent, method: who, and its record.
        envs: where it acts; they share `catalog`.
        catalog: the items on sale.
        observes: whether the environments onboard new items, so that something is learned even while the agent is not.
        observation: where it stands, if it acts without learning.
    """

    agent: Agent
    method: Method
    envs: VecEnv
    catalog: Catalog
    observes: bool
    observation: VecEnvObs | None = None

    def follow(self, catalog: Catalog) -> None:
        """Let the agent act in another catalog of the same items."""
        follower: Any = getattr(self.agent, "policy", self.agent)
        follower.follow(catalog)

    def live(self, n_steps: int) -> None:
        """Let `n_steps` user-steps pass: the agent learns from them, or acts where only items are observed.

        Schedules go on with the user-steps of all lives, and what comes before the first step does not come again.
        """
        if self.method.learns_online:
            further = {"reset_num_timesteps": False} if isinstance(self.agent, BaseAlgorithm) else {}
            self.agent.learn(n_steps, **further)
        elif self.observes:
            self.act(n_steps)

    def act(self, n_steps: int) -> None:
        """Act for `n_steps` user-steps as in learning, without learning."""
        for _ in range(-(-n_steps // self.envs.num_envs)):
            if self.observation is None:
                self.observation = self.envs.reset()
            actions, _ = self.agent.predict(self.observation, deterministic=False)
            self.observation, *_ = self.envs.step(np.asarray(actions))

    @property
    def reads_vectors(self) -> bool:
        """Whether the agent looks at what is known of items."""
        return self.method.name not in READ_NO_VECTORS

    @property
    def changes(self) -> bool:
        """Whether time teaches the agent or its items anything."""
        return self.method.learns_online or self.observes

    def branch(self, bundle: Bundle) -> Resident:
        """Return a copy with environments and a catalog of its own, from here on. The bundle is shared."""
        kept = (bundle, self.catalog.codebook, *bundle.users.values(), *bundle.simulators.values())
        memo: dict[int, Any] = {id(one): one for one in kept}
        inner = self.envs
        wrappers = []
        while hasattr(inner, "venv"):  # SB3's wrappers cannot be copied, so the copy gets one of its own
            wrappers.append(inner)
            inner = inner.venv
        own = VecMonitor(copy.deepcopy(inner, memo))
        memo.update({id(wrapper): own for wrapper in wrappers})
        agent, catalog, observation = copy.deepcopy((self.agent, self.catalog, self.observation), memo)
        return Resident(agent, self.method, own, catalog, self.observes, observation)


def settle(
    spec: RunSpec, method: Method, bundle: Bundle, catalog: Catalog, progress: Progress, n_later: int
) -> tuple[Learned, Resident]:
    """Let an agent learn in a catalog; return how that went, and the agent where it lives.

    Progress is said in parts of these user-steps and the `n_later` that are to follow.
    """
    onboarding, total = onboarding_of(spec), spec.steps + n_later
    learned = learn(
        spec,
        method,
        lambda steps: progress(steps * spec.steps // total),
        bundle,
        with_curve=False,
        catalog=catalog,
        onboarding=onboarding,
    )
    return learned, Resident(learned.agent, method, learned.envs, catalog, onboarding is not None)


@dataclass
class Judges:
    """Who scores a run: the `eval` user, and the true one where it is known.

    Attributes:
        spec, method, bundle: of the run.
        new: the items that were held back, (N + 1,) bool.
        found: the numbers of all stages so far, as `RunResult.extra` holds them.
    """

    spec: RunSpec
    method: Method
    bundle: Bundle
    new: NDArray[np.bool_]
    found: dict[str, float] = field(default_factory=dict)

    def score(self, stage: str, resident: Resident, catalog: Catalog | None = None) -> Scores:
        """Score the greedy policy in a catalog, by default its own, and keep the numbers under the stage's name.

        Raises:
            HsrlError: for a stage that was scored before.
        """
        if entry(stage, REWARD) in self.found:
            raise HsrlError(f"got the stage {stage!r} twice, expected it once.")
        items = resident.catalog if catalog is None else catalog
        if items is not resident.catalog:
            resident.follow(items)
        with undisturbed(resident.agent):
            scores, by_learned = self._play(resident.agent, items, "eval")
            self.found[entry(stage, REWARD)] = float(scores.reward.mean())
            self.found[entry(stage, SHARE)] = scores.watched_shown / float(scores.shown.sum())
            if scores.watched_shown:
                self.found[entry(stage, CLICKS)] = scores.watched_clicks / scores.watched_shown
            if by_learned and knows_world(self.bundle):
                true, _ = self._play(resident.agent, items, TRUE_USER)
                self.found[entry(stage, TRUE_REWARD)] = float(true.reward.mean())
        if items is not resident.catalog:
            resident.follow(resident.catalog)
        return scores

    def _play(self, agent: Agent, catalog: Catalog, simulator: str) -> tuple[Scores, bool]:
        """Return what sessions bring, and whether the users were learned ones."""
        envs = make_eval_envs(
            self.spec, self.method.action_mode, simulator=simulator, bundle=self.bundle, catalog=catalog
        )
        scores = evaluate(agent, envs, self.spec.n_eval_episodes, self.spec.eval_seed, self.new)
        return scores, not isinstance(envs.sessions.core.respond, TrueUsers)
