"""The reward of an episode that was really played (stage 3): the environment's own score. It does not know which environment."""

from tracer1.rewards import REWARDS, needs, score_of_episode
from tracer1.schema import Rollout


@REWARDS.register("episode_score")
@needs("episode")
def episode_score(rollout: Rollout, *, least: float = -1.0) -> float:
    """What the environment gave for the whole episode, the same for each of its turns.

    Args:
        rollout: A turn of an episode that is over.
        least: Lower scores count as this. Pages that give -1 for a wrong answer and 0 for none teach a beginner, who is wrong more
            often than right, to do nothing; with 0 nothing is lost by trying.

    Raises:
        ConfigError: nothing was played.
    """
    return max(score_of_episode(rollout, "episode_score"), least)
