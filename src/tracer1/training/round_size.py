"""The units of a round: prompts, groups, updates, ranks. It knows nothing of what is done with them."""

from dataclasses import dataclass

from tracer1.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RoundSize:
    """The units of a round (method, section 4), over all ranks; one group is one prompt with its rollouts.

    Raises:
        ConfigError: numbers that do not divide each other.
    """

    prompts_per_round: int = 512
    prompts_per_update: int = 128
    group_size: int = 5  # n
    groups_per_micro_batch: int = 1  # of one rank
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise ConfigError(f"algorithm.group_size={self.group_size}: a group needs at least 2 rollouts to compare.")
        for whole, part, names in (
            (self.prompts_per_round, self.prompts_per_update, "prompts_per_round by algorithm.prompts_per_update"),
            (
                self.prompts_per_update,
                self.groups_per_micro_batch * self.world_size,
                "prompts_per_update by groups_per_micro_batch x ranks",
            ),
        ):
            if part < 1 or whole % part:
                raise ConfigError(f"algorithm.{names}: {whole} is not divisible by {part}. Give a multiple of it.")

    @property
    def prompts_per_rank(self) -> int:
        """Of one round."""
        return self.prompts_per_round // self.world_size

    @property
    def micro_batches_per_update(self) -> int:
        """What one rank accumulates before an optimizer update."""
        return self.prompts_per_update // (self.groups_per_micro_batch * self.world_size)

    @property
    def micro_batches_per_round(self) -> int:
        """Of one rank."""
        return self.prompts_per_rank // self.groups_per_micro_batch

    @property
    def parts(self) -> int:
        """Micro-batches of an update over all ranks."""
        return self.micro_batches_per_update * self.world_size
