"""AndroidWorld's tasks in this process, on an emulator that runs already. It knows no agent and no step budget but the task's own."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer1.environments._android_world.device import HOW, Device
from tracer1.environments._foreign import foreign, revision
from tracer1.errors import ConfigError
from tracer1.interfaces import Observation
from tracer1.registry import nearest
from tracer1.schema import Action


class Here:
    """See `android_world.Place`.

    Args:
        checkout: The clone; None: as it is installed.
        family: Of tasks, in its registry.
        connection: Arguments of `env_launcher.load_and_setup_env`.
    """

    def __init__(self, checkout: Path | None, family: str, connection: Mapping[str, Any]) -> None:
        self._checkout, self._family, self._connection = checkout, family, connection
        self._kinds: dict[str, Any] | None = None  # name -> their class
        self._device: Device | None = None
        self._task: Any = None  # their TaskEval, set up

    def tasks(self) -> list[str]:
        """The registry's names."""
        return list(self._registry())

    def begin(self, task: str, seed: int) -> tuple[str, int]:
        """See `Place`. The parameters are those that AndroidWorld's own runner draws with this seed."""
        device = self._connected()
        create_suite = self._import("suite_utils").create_suite
        suite = create_suite({task: self._registry()[task]}, n_task_combinations=1, seed=seed)
        self._task = suite[task][0]  # before it is set up: a half-done set-up is torn down, too
        self._task.initialize_task(device.env)
        device.env.reset(go_home=self._task.start_on_home_screen)
        return self._task.goal, int(10 * self._task.complexity)

    def look(self) -> Observation:
        """See `Place`."""
        return self._connected().look()

    def act(self, action: Action) -> None:
        """See `Place`."""
        self._connected().act(action)

    def score(self) -> float:
        """The task's own verdict."""
        return self._task.is_successful(self._connected().env)

    def tear_down(self) -> None:
        """See `Place`."""
        task, self._task = self._task, None
        if task is not None and self._device is not None:
            task.tear_down(self._device.env)

    def close(self) -> None:
        """See `Place`."""
        device, self._device, self._task = self._device, None, None
        if device is not None:
            device.env.close()

    def about(self) -> dict[str, Any]:
        """The revision and the family."""
        return {"android_world": revision(self._checkout, "android_world"), "family": self._family}

    def _import(self, module: str) -> Any:
        return foreign(f"android_world.{module}", self._checkout, HOW)

    def _registry(self) -> dict[str, Any]:
        if self._kinds is None:
            self._kinds = dict(self._import("registry").TaskRegistry().get_registry(self._family))
        return self._kinds

    def _connected(self) -> Device:
        if self._device is None:
            load = self._import("env.env_launcher").load_and_setup_env
            known = list(inspect.signature(load).parameters)
            for name in self._connection:
                if name not in known:
                    raise ConfigError(
                        f"connection has no setting {name!r}.{nearest(name, known)} Known: {', '.join(known)}."
                    )
            given = {name: value for name, value in self._connection.items() if value is not None}
            self._device = Device(load(**given), self._checkout)
        return self._device
