"""Measure HSRL-Ads-v0: seconds to make it, steps a second, memory, a day's change, and what simple policies earn.

    python benchmarks/ads.py
    python benchmarks/ads.py --reward revenue --sessions 5000

Times are processor times of one thread; on an idle machine they are those of the clock. The policies choose among the
candidates of each request. Random and oracles need no learning; `predicted` is a logistic regression on the log of the
train users. The far-sighted oracle also weighs what a click on clickbait does to later clicks.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsrl_agent.evaluation.terminal import make_console, run_command, say

if TYPE_CHECKING:
    from torch import Tensor

    from hsrl_gym.envs.ads.env import AdsVectorEnv

ENV = "HSRL-Ads-v0"
N_ENVS = 256  # users at once while policies are scored
FAR_SIGHT = 0.75  # logits by which the far-sighted oracle lowers an ad per unit of sweetness; the best of 0.25, .., 1
Score = Callable[["AdsVectorEnv", "Tensor"], "Tensor"]  # scores (B, R) of candidates (B, R); the best one is shown


def random(envs: AdsVectorEnv, candidates: Tensor) -> Tensor:
    """Score at random; torch's generator is seeded before each policy."""
    import torch

    return torch.rand(candidates.shape)


def on_arrival(envs: AdsVectorEnv, candidates: Tensor) -> Tensor:
    """Score by the true click probability as if the user had clicked nothing yet."""
    import torch

    return envs.sessions.core.respond(envs.state.user, torch.zeros_like(envs.state.history), candidates)


def oracle(envs: AdsVectorEnv, candidates: Tensor) -> Tensor:
    """Score by the true click probability."""
    return envs.sessions.core.respond(envs.state.user, envs.state.history, candidates)


def far_sighted(envs: AdsVectorEnv, candidates: Tensor) -> Tensor:
    """Score by the true click logit, less a penalty on sweetness."""
    users = envs.sessions.core.respond
    logits = users.world(users.profiles[envs.state.user], envs.state.history, candidates)
    return logits - FAR_SIGHT * users.world.sweet[candidates]


def predicted(envs: AdsVectorEnv) -> Score:
    """Return a score by logistic regression of the logged clicks on features and their products with the profile."""
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegression

    log, features = envs.bundle.users["train"], torch.as_tensor(envs.bundle.codebook.features)
    shown = features[log.slate[:, 0]]
    rows = torch.cat([shown, (torch.as_tensor(log.profile).unsqueeze(2) * shown.unsqueeze(1)).flatten(1)], dim=1)
    fitted = LogisticRegression(C=0.1, max_iter=500).fit(rows.numpy(), log.clicks[:, 0])
    weights = torch.as_tensor(fitted.coef_[0].astype(np.float32))
    width = features.shape[1]
    common, personal = weights[:width], weights[width:].view(-1, width)

    def score(envs: AdsVectorEnv, candidates: Tensor) -> Tensor:
        wanted = common + envs.sessions.core.profiles[envs.state.user] @ personal  # (B, F)
        return torch.einsum("brf,bf->br", features[candidates], wanted)

    return score


def earned(score: Score, options: argparse.Namespace) -> dict[str, float]:
    """Return means over the sessions of the eval users: reward, depth, clicks, conversions and cost a request."""
    import numpy as np
    import torch

    envs = _vector(N_ENVS, action_mode="item", simulator="eval", reward=options.reward)
    envs.reset(seed=0)
    torch.manual_seed(0)
    total, depth = np.zeros(N_ENVS), np.zeros(N_ENVS)
    sessions: list[tuple[float, float]] = []
    rates: list[list[float]] = []
    while len(sessions) < options.sessions:
        candidates = envs.sessions.candidates(envs.state)
        actions = score(envs, candidates).argmax(1, keepdim=True).numpy()
        _, reward, terminated, truncated, info = envs.step(actions)
        total, depth = total + reward, depth + 1
        rates.append([float(info[name].mean()) for name in ("clicks", "conversions", "cost")])
        done = terminated | truncated
        sessions += list(zip(total[done], depth[done], strict=True))
        total[done], depth[done] = 0.0, 0.0
    reward_depth, by_request = np.mean(sessions, axis=0), np.mean(rates, axis=0)
    names = ("Total Reward", "Depth", "clicks", "conversions", "cost")
    return dict(zip(names, [*reward_depth.tolist(), *by_request.tolist()], strict=True))


def steps_a_second(n_envs: int, seconds: float) -> float:
    """Return the user-steps a second of random SIDs within a day; a single environment for one user."""
    import gymnasium

    env: Any = _vector(n_envs) if n_envs > 1 else gymnasium.make(ENV)
    env.action_space.seed(0)
    env.reset(seed=0)
    n_steps, start = 0, time.process_time()
    while time.process_time() - start < seconds and n_steps < 199:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if n_envs == 1 and (terminated or truncated):
            env.reset()
        n_steps += 1
    return n_steps * n_envs / (time.process_time() - start)


def _vector(n_envs: int, **settings: Any) -> AdsVectorEnv:
    import gymnasium

    envs: Any = gymnasium.make_vec(ENV, n_envs, "vector_entry_point", **settings).unwrapped
    return envs


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from hsrl_agent.evaluation.options import Parser, folder, whole_number, whole_numbers

    made = Parser(prog="ads.py", description=f"Measure {ENV}.")
    add = made.add_argument
    add("--reward", default="mean_with_cost", metavar="RULE", help="mean_with_cost, conversion or revenue")
    add("--sessions", type=whole_number, default=2_000, metavar="N", help="that score each policy (2000)")
    add("--batches", type=whole_numbers, default=(1, 32, 256), metavar="N,..", help="users at once (1,32,256)")
    add("--seconds", type=float, default=2.0, metavar="S", help="of each measurement of speed, at most (2)")
    add("--out", type=folder, default=Path("results/ads"), metavar="DIR", help="folder (results/ads)")
    return made


def run(options: argparse.Namespace) -> int:
    """Measure, print, and write ads.md; return 0."""
    import gymnasium
    import torch

    import hsrl_gym  # noqa: F401  (registers the environments)
    from hsrl_agent.evaluation.provenance import device_name, git_commit, versions
    from hsrl_agent.files import write_text

    torch.set_num_threads(1)
    before, start = _megabytes(), time.process_time()
    env: Any = gymnasium.make(ENV, reward=options.reward).unwrapped
    facts = [("gym.make, first in a process", f"{time.process_time() - start:.1f} s")]
    facts.append(("memory, beyond imports", f"{_megabytes() - before:,.0f} MB"))
    start = time.process_time()
    gymnasium.make(ENV)
    facts.append(("gym.make, again", f"{time.process_time() - start:.1f} s"))
    start = time.process_time()
    changes = env.sessions.days.end()
    came, went = len(changes["arrived"]), len(changes["retired"])
    facts.append((f"change of a day, {came:,} ads in, {went:,} out", f"{time.process_time() - start:.2f} s"))
    for n_envs in options.batches:
        facts.append((f"user-steps a second, {n_envs} at once", f"{steps_a_second(n_envs, options.seconds):,.0f}"))
    policies: dict[str, Score] = {
        "random": random,
        "predicted": predicted(_vector(1)),
        "oracle, on arrival": on_arrival,
    }
    policies |= {"oracle": oracle, "far-sighted oracle": far_sighted}
    scores = {name: earned(score, options) for name, score in policies.items()}
    commit = (git_commit() or "unknown")[:8]
    lines = [f"# {ENV}", "", f"{device_name('cpu')}, 1 thread; torch {versions()['torch']}; commit {commit}", ""]
    lines += ["| Measured, in processor time | |", "|---|---|", *(f"| {what} | {value} |" for what, value in facts), ""]
    heads = list(scores["random"])
    lines += [f"Reward rule `{options.reward}`, {options.sessions:,} sessions of eval users, from day 0 on.", ""]
    lines += [f"| Policy | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{row[head]:.3f}' for head in heads)} |" for name, row in scores.items()]
    write_text(options.out / "ads.md", "\n".join(lines) + "\n")
    console = make_console()
    say(console, "\n".join(lines))
    say(console, f"written: {options.out / 'ads.md'}")
    return 0


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    return run_command("ads.py", lambda: run(parser().parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
