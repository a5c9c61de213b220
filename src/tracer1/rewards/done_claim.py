"""Whether a planner that says it is done is (stage 3). It does not know which environment was played, nor what ended the episode."""

from tracer1.rewards import REWARDS, needs, score_of_episode
from tracer1.schema import DONE, Rollout


@REWARDS.register("done_claim")
@needs("episode")
def done_claim(rollout: Rollout, *, full: float = 1.0) -> float:
    """1 unless the step that is executed is said to finish the task and the episode's score is below `full`; 0 without any step.

    Experts never miss, so recorded steps teach that the last planned step is done whatever becomes of it, and an episode ends with the
    first miss. Whether it was one, only the environment knows.

    Args:
        rollout: A turn of an episode that is over.
        full: The score of a task that is solved.

    Raises:
        ConfigError: nothing was played.
    """
    score = score_of_episode(rollout, "done_claim")
    steps = rollout.plan.steps
    wrong = not steps or (steps[0].status == DONE and score < full)
    return 0.0 if wrong else 1.0
