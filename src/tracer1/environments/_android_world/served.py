"""AndroidWorld in its own container, behind the HTTP server that it starts. It knows no agent.

The server takes JSONActions alone: here `type` always presses Enter, `drag` and `press_recent` do nothing, a scroll has no place, and
pictures come as lists of numbers. It tells no complexity, so the step budget is a setting.
"""

from typing import Any

from tracer1.environments._android_world.device import to_png
from tracer1.environments._android_world.gesture import to_json_actions
from tracer1.errors import ConfigError, MissingDependency
from tracer1.interfaces import Observation
from tracer1.schema import Action

CALL_S = 120.0  # of one call: a task's set-up restores its apps
CONNECT_S = 5.0
RUN_SEED = 30  # of AndroidWorld's own run.py; the server begins with another one


class Served:
    """See `android_world.Place`.

    Args:
        url: Of the server.
        family: Of tasks.
        budget: Steps of an episode.

    Raises:
        ConfigError: no budget.
        MissingDependency: no httpx.
    """

    def __init__(self, url: str, family: str, budget: int | None) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingDependency("`server` needs httpx: pip install 'tracer1[chat]'.") from error
        if budget is None or budget < 1:
            raise ConfigError("budget: with `server` it must be a number of steps, e.g. 12, the median over the tasks.")
        self._url, self._family, self._budget = url.rstrip("/"), family, budget
        self._client = httpx.Client(base_url=self._url, timeout=httpx.Timeout(CALL_S, connect=CONNECT_S))
        self._unreachable = (httpx.HTTPError, httpx.InvalidURL, KeyError, ValueError)
        self._names: list[str] | None = None
        self._seed: int | None = None  # of the server's present suite
        self._size = (0, 0)  # of the last picture
        self._task: str | None = None

    def tasks(self) -> list[str]:
        """The names in the server's suite."""
        if self._names is None:
            try:
                self._draw(RUN_SEED)
                self._names = self._get("/suite/task_list", max_index=-1)["task_list"]
            except self._unreachable as error:
                raise ConfigError(
                    f"server: {self._url} does not answer as AndroidWorld's server ({error}). Start it: docker run --privileged "
                    "-p 5000:5000 android_world:latest; the first start takes 5 to 10 minutes."
                ) from error
        return self._names

    def begin(self, task: str, seed: int) -> tuple[str, int]:
        """See `Place`."""
        if seed != self._seed:
            self._draw(seed)
        self._task = task
        self._post("/task/initialize", task_type=task, task_idx=0)
        self._post("/reset", go_home=True)
        return self._get("/task/goal", task_type=task, task_idx=0)["goal"], self._budget

    def look(self) -> Observation:
        """See `Place`."""
        import numpy as np

        pixels = np.asarray(self._get("/screenshot", wait_to_stabilize=True)["pixels"], dtype=np.uint8)
        self._size = pixels.shape[1], pixels.shape[0]
        return Observation(to_png(pixels, self._size, lambda: 0))

    def act(self, action: Action) -> None:
        """See `Place`."""
        for fields in to_json_actions(action, self._size):
            self._client.post("/execute_action", json=fields).raise_for_status()

    def score(self) -> float:
        """The task's own verdict."""
        return self._get("/task/score", task_type=self._task, task_idx=0)["score"]

    def tear_down(self) -> None:
        """See `Place`."""
        task, self._task = self._task, None
        if task is not None:
            self._post("/task/tear_down", task_type=task, task_idx=0)

    def close(self) -> None:
        """Forgets the suite; the container stays up: its server cannot start the device again."""
        self._task, self._seed = None, None

    def about(self) -> dict[str, Any]:
        """The server, which does not tell its revision, and the family."""
        return {"android_world": f"unknown revision, served at {self._url}", "family": self._family}

    def _draw(self, seed: int) -> None:
        """Makes the server's suite anew: its own has two instances of every task."""
        self._get("/suite/reinitialize", n_task_combinations=1, seed=seed, task_family=self._family)
        self._seed = seed

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        return self._client.get(path, params=params).raise_for_status().json()

    def _post(self, path: str, **params: Any) -> None:
        self._client.post(path, params=params).raise_for_status()
