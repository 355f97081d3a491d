"""`hsrl-gym play`: sessions in the terminal, one line a step, by random actions or by a saved policy."""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hsrl_gym.errors import HsrlError, unknown_name

# Reads the files that agents save. It is imported by its name when a policy is given: this package knows no agents.
POLICY_READER = "hsrl_agent.saved"
Act = Callable[[Any, bool], Any]  # from an observation, and whether it is the first of a session, to an action


def add_play(commands: Any) -> None:
    """Add the command to the subparsers of `hsrl-gym`."""
    play = commands.add_parser("play", help="play sessions in the terminal, at random or with a saved policy")
    play.add_argument("env", metavar="ENV", help="an id, for instance HSRL-RL4RS-v0")
    play.add_argument("--bundle", help="folder of a bundle (default: that of the id)")
    play.add_argument("--policy", type=Path, metavar="FILE", help="written by agent.save (default: random actions)")
    play.add_argument("--action-mode", help="sid, item or hyper (default: that of the policy, else sid)")
    play.add_argument("--sessions", type=int, default=1, help="number of sessions")
    play.add_argument("--seed", type=int, default=0)
    play.add_argument("--slates", action="store_true", help="print every item of every slate")
    play.add_argument("--gif", type=Path, metavar="FILE", help="also write the sessions as an animated GIF")
    play.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Play the sessions.

    Raises:
        HsrlError: for an unknown environment, a file that is no policy, or a policy of another environment.
    """
    _check(options)
    saved = None if options.policy is None else importlib.import_module(POLICY_READER).read_policy(options.policy)
    mode = options.action_mode or (saved.action_mode if saved is not None else None)
    env = _make(options.env, {"bundle": options.bundle, "action_mode": mode})
    env.action_space.seed(options.seed)
    act: Act = (lambda observation, first: env.action_space.sample()) if saved is None else saved.actor(env)
    who = "random actions" if saved is None else f"policy {options.policy.name}"
    print(f"{options.env}, {who}, seed {options.seed}")
    frames: list[Any] = []
    times: list[int] = []
    for number in range(options.sessions):
        seed = options.seed if number == 0 else None
        for frame, milliseconds in _session(env, act, number + 1, seed, options):
            frames.append(frame)
            times.append(milliseconds)
    if options.gif is not None:
        from hsrl_gym.envs.render_gif import write_gif

        write_gif(options.gif, frames, times)
        print(f"written: {options.gif} ({len(frames)} frames)")


def _session(env: Any, act: Act, number: int, seed: int | None, options: argparse.Namespace) -> Any:
    """Play and print a session; yield its frames and how long they are seen, if a GIF is wanted."""
    from hsrl_gym.envs.render_text import step_line, step_text

    rendering, width = env.unwrapped.rendering, shutil.get_terminal_size((120, 24)).columns
    observation, _ = env.reset(seed=seed)
    view, over = rendering.view(0), False
    print(f"session {number}: a user with {len(view.history)} known clicks, patience {view.patience:.1f}")
    if options.gif is not None:
        yield _frame(rendering), 1_000
    while not over:
        observation, _, terminated, truncated, _ = env.step(act(observation, view.step == 0))
        view, over = rendering.view(0), terminated or truncated
        print(step_text(view) if options.slates else step_line(view, width))
        if options.gif is not None:
            yield _frame(rendering), 2_500 if over else 700
    print(f"session {number}: total reward {view.total:.3f} in {view.step} steps; {view.ending}")


def _frame(rendering: Any) -> Any:
    from hsrl_gym.envs.render_gif import gif_frame

    return gif_frame(rendering.frame(0))


def _make(env_id: str, settings: dict[str, Any]) -> Any:
    """Return the environment; what it warns of becomes one line."""
    import gymnasium

    given = {name: value for name, value in settings.items() if value is not None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = gymnasium.make(env_id, render_mode="ansi", **given)
    for warning in caught:
        print(f"hsrl-gym: {warning.message}", file=sys.stderr)
    return env


def _check(options: argparse.Namespace) -> None:
    """Refuse what can be refused before anything is loaded."""
    from gymnasium.envs.registration import registry

    ids = [name for name, spec in registry.items() if str(spec.entry_point).startswith("hsrl_gym.")]
    if options.env not in ids:
        raise unknown_name("environment", options.env, ids)
    if registry[options.env].kwargs.get("default_bundle", "") is None and options.bundle is None:
        raise HsrlError(f"{options.env} needs a bundle; give --bundle DIR (`hsrl-gym build` makes one from your logs).")
    if options.sessions < 1:
        raise HsrlError(f"got --sessions {options.sessions}, expected at least 1.")
    if not 0 <= options.seed < 2**31:
        raise HsrlError(f"got --seed {options.seed}, expected 0 to {2**31 - 1}.")
    if options.gif is not None and (options.gif.suffix.lower() != ".gif" or not options.gif.parent.is_dir()):
        raise HsrlError(f"got --gif {options.gif}, expected a file name that ends in .gif, in a folder that exists.")
