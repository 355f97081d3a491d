"""One measurement in a process of its own: `stopwatch.py '{"part": "step", ..}'` prints one line of JSON.

What other checkouts have is called, so that `throughput.py --against` can time them with the same lines; the roofline
takes the environments apart and is left out where they have other parts.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any


def rounds(action: Callable[[], Any], seconds: float, least: int = 5) -> list[float]:
    """Return the seconds of each call of `action`, called for about `seconds`, after one call that does not count."""
    action()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < least or time.perf_counter() < end:
        before = time.perf_counter()
        action()
        taken.append(time.perf_counter() - before)
    return sorted(taken)


def summary(taken: list[float], per_call: float = 1.0) -> dict[str, float]:
    """Return calls a second at the best and at the median round; a call stands for `per_call` units of work."""
    return {"best": per_call / taken[0], "median": per_call / taken[len(taken) // 2]}


def start(request: dict[str, Any]) -> dict[str, Any]:
    """Return the seconds of `import torch`, of `import hsrl_gym` after it, and of the first `gym.make`."""
    before = time.perf_counter()
    import torch  # noqa: F401

    torch_ready = time.perf_counter()
    import hsrl_gym  # noqa: F401

    ready = time.perf_counter()
    import gymnasium

    imported = time.perf_counter()
    gymnasium.make(request["env"])
    made = time.perf_counter()
    return {"import_torch": torch_ready - before, "import_hsrl_gym": ready - torch_ready, "make": made - imported}


def single(request: dict[str, Any]) -> dict[str, Any]:
    """Return steps a second of one environment under random actions, its resets included."""
    import gymnasium

    import hsrl_gym  # noqa: F401

    env = gymnasium.make(request["env"], **_arguments(request))
    env.action_space.seed(0)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(64)]

    def some_steps() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return {"steps": summary(rounds(some_steps, request["seconds"]), len(actions))}


def step(request: dict[str, Any]) -> dict[str, Any]:
    """Return user-steps a second of a vector environment under random actions, and of its user model alone."""
    import torch

    envs, n_envs = _vector(request), request["n_envs"]
    actions = [envs.action_space.sample() for _ in range(4)]
    count = iter(range(10**9))
    per_round = max(1, 200 // n_envs)
    core = envs.unwrapped.sessions.core

    def some_steps() -> None:
        for _ in range(per_round):
            envs.step(actions[next(count) % 4])

    for _ in range(20):  # sessions of all ages
        envs.step(actions[next(count) % 4])
    result: dict[str, Any] = {"steps": summary(rounds(some_steps, request["seconds"]), n_envs * per_round)}
    if hasattr(core, "respond"):  # a checkout from before it had one has no roofline
        state = envs.unwrapped._state
        slate = envs.unwrapped.sessions.actions.decode(torch.as_tensor(actions[0], device=state.user.device))
        with torch.no_grad():
            alone = rounds(lambda: _wait(core.respond(state.user, state.history, slate)), request["seconds"])
        result["roofline"] = summary(alone, n_envs)
        result["own_share"] = _own_share(core, some_steps, request["seconds"])
    return result


def _arguments(request: dict[str, Any]) -> dict[str, Any]:
    return {"device": request["device"], **request["arguments"]}


def _vector(request: dict[str, Any]) -> Any:
    """Return the vector environment of a request, at the beginning of its sessions."""
    import gymnasium

    import hsrl_gym  # noqa: F401

    envs = gymnasium.make_vec(
        request["env"], request["n_envs"], vectorization_mode="vector_entry_point", **_arguments(request)
    )
    envs.action_space.seed(0)
    envs.reset(seed=0)
    return envs


def _own_share(core: Any, some_steps: Callable[[], None], seconds: float) -> float:
    """Return the share of a step's time that is not the user model's, both clocked in the same steps."""
    respond, inside = core.respond, [0.0]

    def clocked(*arguments: Any) -> Any:
        _wait(arguments[0])
        before = time.perf_counter()
        answer = _wait(respond(*arguments))
        inside[0] += time.perf_counter() - before
        return answer

    core.respond = clocked
    some_steps()
    inside[0] = 0.0
    before = time.perf_counter()
    while time.perf_counter() - before < seconds:
        some_steps()
    share = 1.0 - inside[0] / (time.perf_counter() - before)
    core.respond = respond
    return share


def _wait(answer: Any) -> Any:
    if answer.device.type == "cuda":
        import torch

        torch.cuda.synchronize(answer.device)
    return answer


def train(request: dict[str, Any]) -> dict[str, Any]:
    """Return iterations a second of a method: a vector step and an update each, as `learn` does them."""
    agent = _learner(request)
    n_envs, per_round = request["n_envs"], 10
    agent.learn(n_envs * 80, reset_num_timesteps=False)  # past the steps before the first update of any method
    taken = rounds(lambda: agent.learn(n_envs * per_round, reset_num_timesteps=False), request["seconds"])
    return {"iterations": summary(taken, per_round)}


def _learner(request: dict[str, Any]) -> Any:
    from hsrl_agent.methods import find_method
    from hsrl_agent.vec_env import make_vec_env

    method = find_method(request["method"])
    envs = make_vec_env(request["env"], request["n_envs"], action_mode=method.action_mode, **_arguments(request))
    envs.seed(0)
    return method.make(envs, 0, request["device"], dict(request.get("settings", {})))


def profile(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the time goes to: the share of each torch operation in an iteration of a method, or in a step."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    if "method" in request:
        agent = _learner(request)
        agent.learn(request["n_envs"] * 40)
        action = lambda: agent.learn(request["n_envs"] * 20, reset_num_timesteps=False)  # noqa: E731
    else:
        envs = _vector(request)
        actions = envs.action_space.sample()
        action = lambda: [envs.step(actions) for _ in range(20)]  # noqa: E731
    action()
    with torch_profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        before = time.perf_counter()
        action()
        wall = time.perf_counter() - before
    clock = "self_device_time_total" if request["device"].startswith("cuda") else "self_cpu_time_total"
    events = [(e.key, e.count, getattr(e, clock) * 1e-6) for e in recorded.key_averages()]
    inside = sum(seconds for _, _, seconds in events)
    largest = sorted(events, key=lambda event: -event[2])[: request.get("rows", 12)]
    return {
        "operations": [
            {"name": name, "calls": count / 20, "share": seconds / wall} for name, count, seconds in largest
        ],
        "calls": sum(count for name, count, _ in events if name.startswith("aten::")) / 20,
        "outside_torch": max(0.0, 1.0 - inside / wall),
    }


PARTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "start": start,
    "single": single,
    "step": step,
    "train": train,
    "profile": profile,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    request = json.loads(sys.argv[1])
    result = PARTS[request["part"]](request)
    print(json.dumps({**result, "package": sys.modules["hsrl_gym"].__file__}))
