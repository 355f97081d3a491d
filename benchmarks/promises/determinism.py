"""The same seed gives the same agent: every method learns twice, in two processes, and the bytes are compared."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promises.promise import Finding, Say, small_bundle, work_folder

ENV = "HSRL-ML1M-v0"
N_ENVS, N_STEPS = 8, 96  # users at once; vector steps
SHORT = {  # so that every part of a method has its turn in these steps
    "learning_starts": 32,
    "pretrain_epochs": 1,
    "critic_warmup_steps": 4,
    "epochs": 1,
    "n_epochs": 1,
}
SMALL = {"width": 16, "n_layers": 1, "n_heads": 2, "critic_hidden": (16,)}


def fingerprint(agent: Any, observation: Any) -> str:
    """Return the sha256 of all weights and arrays that an agent holds, and of its answer to an observation."""
    import numpy as np
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(vars(agent).items()):
        parts: Mapping[str, Any] = value.state_dict() if isinstance(value, torch.nn.Module) else {"": value}
        for key, part in parts.items():
            if isinstance(part, (torch.Tensor, np.ndarray)):
                array = part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else part
                digest.update(f"{name} {key} {array.dtype} {array.shape}".encode() + array.tobytes())
    actions, _ = agent.predict(observation, deterministic=True)
    digest.update(np.ascontiguousarray(actions).tobytes())
    return digest.hexdigest()


def learn(name: str, bundle: str, seed: int, n_steps: int = N_STEPS) -> str:
    """Return the fingerprint of a small agent after it has learned."""
    from hsrl_agent import make_vec_env
    from hsrl_agent.evaluation.plugins import settings_of
    from hsrl_agent.methods import find_method

    method = find_method(name)
    known = settings_of(method, True)
    settings: dict[str, Any] = {key: value for key, value in SHORT.items() if key in known}
    if "policy_kwargs" in known:
        settings["policy_kwargs"] = dict(SMALL)
    env = make_vec_env(ENV, N_ENVS, seed=seed, bundle=bundle, action_mode=method.action_mode)
    agent = method.make(env, seed, "cpu", settings)
    agent.learn(N_ENVS * n_steps)
    return fingerprint(agent, env.reset())


def compare(one: Mapping[str, str], other: Mapping[str, str], methods: Sequence[str]) -> list[str]:
    """Return a line for each method whose fingerprints differ, or that has none."""
    lines = []
    for name in methods:
        if name not in one or name not in other:
            lines.append(f"{name} did not learn")
        elif one[name] != other[name]:
            lines.append(f"{name}: {one[name][:12]} and {other[name][:12]}")
    return lines


def run(n_methods: int, seed: int, say: Say) -> Finding:
    """Return whether the methods learn the same twice; `n_methods` of them, spread over the table, or all."""
    from hsrl_agent.methods import METHODS

    names = list(METHODS)
    names = names[:: max(len(names) // n_methods, 1)][:n_methods]
    say(f"determinism: {len(names)} methods, twice")
    with work_folder("determinism") as work:
        bundle = small_bundle(Path(work) / "small")
        # Each process has another order of sets, and other memory.
        processes = [_start(bundle, seed, names, hash_seed) for hash_seed in ("1", "2")]
        try:
            outputs = [process.communicate() for process in processes]
        finally:
            for process in processes:
                process.kill()
    one, other = (json.loads(output or "{}") for output, _ in outputs)
    wrong = compare(one, other, names)
    notes = [*wrong, *(" ".join(errors.split())[-500:] for _, errors in outputs if wrong and errors.strip())]
    return Finding(
        "The same seed gives the same agent, byte for byte",
        f"{len(names)} methods learn from {N_ENVS * N_STEPS} user-steps in each of two processes with one thread; all "
        "weights and one answer are compared",
        f"{len(names) - len(wrong)} of {len(names)} methods",
        not wrong,
        notes,
    )


def _start(bundle: Path, seed: int, names: Sequence[str], hash_seed: str) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), str(root / "benchmarks")])
    variables = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-m", "promises.determinism", str(bundle), str(seed), *names]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


if __name__ == "__main__":
    print(json.dumps({name: learn(name, sys.argv[1], int(sys.argv[2])) for name in sys.argv[3:]}))
