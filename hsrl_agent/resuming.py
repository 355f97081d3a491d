"""Algorithms whose files appear whole or not at all, and whose training can be resumed."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from hsrl_agent.checkpoint import FILE, arguments_of, check_class, fitting, put, read
from hsrl_agent.files import write_bytes
from hsrl_gym.errors import HsrlError

SelfResumable = TypeVar("SelfResumable", bound="Resumable")
_OF_LOAD = {"path", "env", "device", "custom_objects", "print_system_info", "force_reset"}


class Resumable(BaseAlgorithm):
    """Mixin: `save` replaces a file at once or not at all, and `resume` goes on from a `Checkpoint`.

    Attributes:
        made_with: the arguments that the agent was made with, by name, without the environment.
    """

    made_with: dict[str, Any]
    _goes_on = False  # whether the next `learn` goes on where a checkpoint was made

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let `inspect` and editors see the arguments of the constructor, not those of `__new__`."""
        super().__init_subclass__(**kwargs)
        signature = inspect.signature(cls.__init__)
        cls.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Keep the arguments, so that a checkpoint can tell them."""
        agent = super().__new__(cls)
        agent.made_with = arguments_of(cls, args, kwargs)
        return agent

    @classmethod
    def resume(cls: type[SelfResumable], folder: str | Path, env: GymEnv | str, **changes: Any) -> SelfResumable:
        """Return the agent of the last checkpoint; its next `learn` goes on from there.

        With the same arguments, versions, machine and number of threads, the results equal those of a run that never
        stopped.

        Args:
            folder: as it was given to `Checkpoint`.
            env: made with the arguments that the environment had. It need not be reset.
            changes: arguments of the agent that differ, and those that JSON cannot hold, such as a schedule.

        Raises:
            HsrlError: for a file that is missing, damaged or of another class, another environment, or an argument that
                has to be given again.
        """
        arrays, values = read(folder)
        check_class(folder, cls, values)
        known = values["agent"]
        missing = [name for name in known["missing"] if name not in changes]
        if missing:
            raise HsrlError(
                f"{Path(folder) / FILE} cannot hold the argument {missing[0]} of the agent; give it again: "
                f"{cls.__name__}.resume(folder, env, {', '.join(f'{name}=..' for name in missing)})."
            )
        arguments = {name: tuple(x) if isinstance(x, list) else x for name, x in known["arguments"].items()}
        with fitting(folder):
            agent = cls(env=env, **{**arguments, **changes})
        put(folder, agent, arrays, values)
        agent._goes_on = True
        return agent

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[int, BaseCallback]:
        starts_anew, self._goes_on = reset_num_timesteps and not self._goes_on, False
        return super()._setup_learn(total_timesteps, callback, starts_anew, *args, **kwargs)

    def save(
        self,
        path: str | Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """See SB3. A file that is there is replaced at once, or not at all; missing folders are made."""
        content = io.BytesIO()
        super().save(content if isinstance(path, str | Path) else path, exclude, include)
        if isinstance(path, str | Path):
            write_bytes(Path(path if Path(path).suffix else f"{path}.zip"), content.getvalue())

    @classmethod
    def load(cls, *args: Any, **kwargs: Any) -> Any:
        """See SB3."""
        agent = super().load(*args, **kwargs)
        known = {} if "_init_setup_model" in agent.made_with else agent.made_with  # a file of an earlier version
        agent.made_with = {**known, **{name: x for name, x in kwargs.items() if name not in _OF_LOAD}}
        return agent
