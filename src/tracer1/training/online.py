"""Stage 3: GRPO on whole plan-act episodes. A group is n episodes of one seeded task, really played, and scored by the environment.

Every turn of an episode is a prompt with one response, and carries the advantage of its episode; all turns of a group are in one
micro-batch. It knows no environment by name and no reward.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from tracer1.engines.rollout_file import rollout_seed
from tracer1.errors import ConfigError
from tracer1.models.batch import MicroBatch
from tracer1.plan_act.episode import FAULT, Episode, Job
from tracer1.plan_act.planner import SharedPlanner
from tracer1.schema import Prompt, Response, Rollout, Step
from tracer1.training.arena import Arena
from tracer1.training.episodes import EpisodeGroup, Played, SeededTasks, episode_means, executed_part, score_episode
from tracer1.training.groups import Group
from tracer1.training.ranks import summed
from tracer1.training.round_figures import means_over_ranks, reward_sums, rollout_figures
from tracer1.training.rounds import Rounds

_EMPTY = Response("", (), ())


class RememberingPlanner(SharedPlanner):
    """Keeps what its plans were made from: a round is trained on the very prompts that were answered."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.prompts: dict[str, Prompt] = {}
        self.seeds: dict[str, int] = {}

    def encode(self, step: Step) -> Prompt | None:
        """See SharedPlanner."""
        prompt = super().encode(step)
        if prompt is not None:
            self.prompts[step.key], self.seeds[step.key] = prompt, self.noise(step, 0)
        return prompt


class EpisodeStream(Rounds):
    """Rounds over played episodes. `prompts_per_round` and so on count seeded tasks.

    Args:
        tasks: Which tasks come next.
        arena: Where they are played. A plan that cannot be acted upon loses its turn: it is not sampled again as at inference, so that
            it costs what it costs.
        place: This rank's number and how many there are: each takes its own tasks.
        credit: `first_step` trains on a response up to the end of its first step, `plan` on all of it.
        parts: The arguments of `Rounds`.
    """

    sampling_stage = "playing"

    def __init__(
        self,
        tasks: SeededTasks,
        arena: Arena,
        *args: Any,
        place: tuple[int, int] = (0, 1),
        credit: str = "first_step",
        **parts: Any,
    ) -> None:
        super().__init__(*args, **parts)
        if self.rules.staleness:
            raise ConfigError("rollout.staleness=1 is of recipe=grpo: episodes cannot be played ahead. Set it to 0.")
        self.credit = credit
        self.tasks, self.arena, self.place = tasks, replace(arena, rules=replace(arena.rules, tries=1)), place
        self.given, self.first = (
            0,
            0,
        )  # tasks that this rank has drawn, counted from the first one that so many ranks share
        self.left: list[int] = []  # before that one: tasks that another number of ranks has left

    # --- the stages, in order --------------------------------------------------------------------------------------------

    def _drawn_groups(self, count: int) -> list[EpisodeGroup]:
        jobs = [job for _ in range(count) for job in self._jobs()]
        # by the round, else a task that comes again would be answered with the same noise
        noise = rollout_seed(self.seed, self.round)
        planner = RememberingPlanner(self.policy, self.engine, self.sampling, seed=noise, at_most=self.arena.batch)
        episodes = self._timed("playing", self.arena.play, jobs, planner, self.report)
        played = self._timed("scoring", self._score, episodes, planner)
        self.rules.faults.check_faults([one.fault for one in played], self.policy.device, "episodes")
        n = self.size.group_size
        return [EpisodeGroup(tuple(played[start : start + n])) for start in range(0, len(played), n)]

    def _jobs(self) -> list[Job]:
        rank, ranks = self.place
        if self.left:
            job = self.tasks.job(self.left.pop(0))
        else:
            job = self.tasks.job(self.first + self.given * ranks + rank)
            self.given += 1
        return [replace(job, sample=i) for i in range(self.size.group_size)]

    def _score(self, episodes: Sequence[Episode], planner: RememberingPlanner) -> list[Played]:
        turns = [turn for one in episodes if one.end != FAULT for turn in one.turns]
        dropped = sum(turn.step.key not in planner.prompts for turn in turns)
        if turns and dropped == len(turns):
            raise ConfigError(
                f"All prompts of round {self.round + 1} had more than {self.policy.encoder.max_prompt_tokens} tokens. Raise "
                "model.prompt.max_prompt_tokens or lower model.prompt.pixels."
            )
        self.dropped_prompts += dropped
        played = [score_episode(one, planner.prompts, planner.seeds, self.reward) for one in episodes]
        return [self._overlong(one) for one in played] if self.rules.overlong is not None else played

    def _overlong(self, played: Played) -> Played:
        """With the mean penalty of its responses."""
        if played.masked:
            return played
        rollouts = self.rules.overlong.apply([turn.rollouts[0] for turn in played.turns])
        return played.with_turns([replace(t, rollouts=(r,)) for t, r in zip(played.turns, rollouts, strict=True)])

    def _rows(self, groups: Sequence[EpisodeGroup]) -> list[Group]:
        return [row for group in groups for row in group.rows]

    def _trained(self, groups: Sequence[EpisodeGroup]) -> list[Group]:
        rows, decode = self._rows(groups), self.policy.backbone.tokenizer.decode
        return rows if self.credit == "plan" else [executed_part(row, decode) for row in rows]

    def _chunks(self, groups: Sequence[EpisodeGroup]) -> list[list[Group]]:
        """A chunk that has no turns, since all its episodes met faults, gets one without tokens: ranks do the same number of passes."""
        return [chunk or [self._blank()] for chunk in super()._chunks(groups)]

    def _blank(self) -> Group:
        step = Step("blank", "episode", "blank", 0, "nothing", None, (), ())
        return Group(step, self.policy.encoder.encode(step), (0,), (Rollout(step, _EMPTY),))

    def _compared(self, groups: Sequence[EpisodeGroup], batches: Sequence[MicroBatch]) -> list[EpisodeGroup]:
        """Episodes are compared; each turn gets what its episode got."""
        episodes = [episode for group in groups for episode in group.episodes]
        counts = [len(self._rows(part)) for part in self._parts(groups)]  # a batch of no turns holds a blank
        turns = torch.tensor([len(episode.turns) for episode in episodes])
        owner = torch.arange(len(episodes)).repeat_interleave(turns)  # of each row: its episode
        penalties = self.preparation.kl_penalties([b for b, count in zip(batches, counts, strict=True) if count])
        rewards = torch.tensor([torch.nan if e.masked else e.reward for e in episodes], dtype=torch.float64)
        advantages = self.preparation.advantages(rewards.index_add(0, owner, -penalties.double()))
        of_rows = iter(advantages[owner].float().split([count for count in counts if count]))
        for batch, count in zip(batches, counts, strict=True):
            if count:
                batch.advantages = next(of_rows)
        of_groups = advantages.view(len(groups), -1).tolist()
        return [group.with_advantages(own) for group, own in zip(groups, of_groups, strict=True)]

    # --- figures ---------------------------------------------------------------------------------------------------------

    def _figures(self, groups: Sequence[EpisodeGroup], dropped: int) -> tuple[dict[str, float], float]:
        device = self.policy.device
        figures, tokens = rollout_figures(self._rows(groups), 0, device)
        episodes = [episode for group in groups for episode in group.episodes]
        faults, ties, drawn, dropped = summed(
            [sum(bool(e.fault) for e in episodes), sum(group.tied for group in groups), len(groups), dropped], device
        )
        figures |= means_over_ranks(reward_sums(episodes) | episode_means(episodes))
        return figures | {
            "executor/infra_errors": faults, "rollout/ties": ties / drawn, "rollout/dropped_groups": dropped,
        }, tokens  # fmt: skip

    # --- where a run goes on from ----------------------------------------------------------------------------------------

    def position(self) -> dict[str, Any]:
        """With the place among the tasks."""
        return {**super().position(), "given": self.given, "first": self.first, "left": list(self.left)}

    def restore(self, position: Mapping[str, Any]) -> None:
        """Takes what `position` gave."""
        super().restore(position)
        self.given, self.first, self.left = position["given"], position.get("first", 0), list(position.get("left", ()))

    def take_over(self, positions: Sequence[Mapping[str, Any]]) -> None:
        """Takes what `position` gave on each of another number of ranks: first come the tasks that some had not reached."""
        super().take_over(positions)
        (rank, ranks), former = self.place, len(positions)
        first, furthest = positions[0].get("first", 0), max(position["given"] for position in positions)
        left = [task for position in positions for task in position.get("left", ())]
        left += [first + k * former + r for r, p in enumerate(positions) for k in range(p["given"], furthest)]
        self.given, self.first, self.left = 0, first + furthest * former, sorted(left)[rank::ranks]
