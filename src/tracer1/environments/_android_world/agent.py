"""Our agent in AndroidWorld's own runner: a subclass of its `EnvironmentInteractingAgent`. It knows no model and no task."""

import logging
from pathlib import Path
from typing import Any

from tracer1.actions import ENDINGS, action_to_wire
from tracer1.environments._android_world.device import HOW, Device
from tracer1.environments._foreign import ImpossibleAction, Plans, acted, as_history, foreign
from tracer1.schema import PlanStep

log = logging.getLogger(__name__)


def agent_class(planner: Plans, checkout: Path | None = None) -> Any:
    """The class to make an agent of: `agent_class(planner)(env, name="tracer1")` goes into `suite_utils.run`.

    Args:
        planner: Plans, and executes where an executor makes the action.
        checkout: The clone of AndroidWorld; None: as it is installed.

    Raises:
        MissingDependency: no AndroidWorld.
    """
    base_agent = foreign("android_world.agents.base_agent", checkout, HOW)

    class Tracer1Agent(base_agent.EnvironmentInteractingAgent):
        """Plans several steps at every look at the screen and does the first."""

        def __init__(self, env: Any, name: str = "tracer1", transition_pause: float | None = None) -> None:
            super().__init__(env, name, transition_pause)
            self._history: list[PlanStep] = []

        def reset(self, go_home: bool = False) -> None:
            """Begins an episode."""
            super().reset(go_home)
            self._history = []

        def step(self, goal: str) -> Any:
            """Looks, plans, acts once. `data` has the same keys at every step; the runner adds its own `step_number`.

            A plan that cannot be acted upon costs the step and does nothing.
            """
            device = Device(self.env, checkout, self.transition_pause)
            seen = device.look()
            rollout = planner.plan(goal, seen, tuple(self._history))
            action, error = acted(rollout), ""
            if action is None:
                error = rollout.plan.error or "the first step of the plan cannot be read"
            else:
                self._history.append(as_history(rollout, action, len(self._history) + 1))
                try:
                    device.act(action)
                except ImpossibleAction as impossible:
                    error = str(impossible)
            if error:
                log.warning("Nothing was done: %s", error)
            data = {
                "screenshot": seen.screenshot,
                "response": rollout.response.text,
                "action": None if action is None else action_to_wire(action),
                "error": error,
            }
            done = action is not None and action.action_type in ENDINGS
            return base_agent.AgentInteractionResult(done, data)

    return Tracer1Agent
