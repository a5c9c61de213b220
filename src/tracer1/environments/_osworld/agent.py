"""Our agent in OSWorld's own runner: what `lib_run_single.run_single_example` asks an agent for. It knows no model and no machine."""

import logging
from collections.abc import Mapping
from typing import Any

from tracer1.environments._foreign import ImpossibleAction, Plans, acted, as_history, picture_size
from tracer1.environments._osworld.command import WAIT, to_command
from tracer1.interfaces import Observation
from tracer1.schema import PlanStep

log = logging.getLogger(__name__)


class OSWorldAgent:
    """`reset`, then `predict` for every look at the screen: it plans several steps and does the first.

    Args:
        planner: Plans, and executes where an executor makes the action.
    """

    action_space = "pyautogui"  # what DesktopEnv must be made with

    def __init__(self, planner: Plans) -> None:
        self._planner = planner
        self._history: list[PlanStep] = []
        self._log = log

    def reset(self, logger: logging.Logger | None = None, **_: Any) -> None:
        """Begins an episode.

        Args:
            logger: The runner's own, for this episode; newer runners also name the machine, which we do not need.
        """
        self._history, self._log = [], logger or log

    def predict(self, instruction: str, obs: Mapping[str, Any]) -> tuple[str, list[str]]:
        """What the planner said, and the one command to be executed.

        A plan that cannot be acted upon, or an action that a desktop has no use for, is WAIT: a fresh look.

        Args:
            instruction: The task's.
            obs: With "screenshot": the bytes of a PNG.

        Raises:
            EnvironmentFault: the machine gave no screenshot; the runner leaves such an episode without a result.
        """
        size = picture_size(obs["screenshot"])
        rollout = self._planner.plan(instruction, Observation(obs["screenshot"]), tuple(self._history))
        action = acted(rollout)
        if action is None:
            self._log.warning("No plan to act upon: %s", rollout.plan.error or "its first step cannot be read")
            return rollout.response.text, [WAIT]
        self._history.append(as_history(rollout, action, len(self._history) + 1))
        try:
            return rollout.response.text, [to_command(action, size)]
        except ImpossibleAction as error:
            self._log.warning("Nothing is done: %s", error)
            return rollout.response.text, [WAIT]
