"""The errors tracer1 raises for a user's mistake or a broken surrounding. It knows nothing about who raises them.

    Tracer1Error
    ├── ConfigError          a setting that cannot work (unknown key, wrong combination)
    │   └── UnknownName      a registered name that nobody registered
    ├── DataError            a shard, step, image or checkpoint that cannot be read
    │   └── CheckpointError  a checkpoint that is damaged or belongs to another model
    ├── TrainingDiverged     too many non-finite updates in a row
    ├── RewardError          a reward raised, or gave a number that is not finite
    ├── ExecutorError        the frozen tool agent is unreachable (never a bad action: that is `Outcome.error`)
    │   └── SandboxFault     the sandbox itself failed (never what the code in it did)
    ├── EnvironmentFault     a browser, desktop or device failed under an episode (never what the agent did in it)
    ├── EngineError          the sampler failed
    └── MissingDependency    an optional package or system program is not installed

Every message says what happened, where, and what to do next. The entry points print it as one line and exit with code 2.
"""


class Tracer1Error(Exception):
    """Base of every error that a user can act upon."""


class ConfigError(Tracer1Error):
    """A setting that cannot work."""


class UnknownName(ConfigError, LookupError):
    """A config names something that nobody registered."""


class DataError(Tracer1Error):
    """A shard, step, image or other input file that cannot be read."""


class CheckpointError(DataError):
    """A checkpoint that is missing, damaged, or belongs to another model."""


class TrainingDiverged(Tracer1Error):
    """The loss or its gradient was not finite for too many updates in a row."""


class RewardError(Tracer1Error):
    """A reward function is broken; the message holds the step's key. A broken reward is never a 0."""


class ExecutorError(Tracer1Error):
    """The executor's server or process is unreachable."""


class SandboxFault(ExecutorError):
    """The sandbox itself failed: no verdict on the code that should have run in it."""


class EnvironmentFault(Tracer1Error):
    """The environment itself failed: no verdict on the episode. The next `reset` begins on a whole one."""


class EngineError(Tracer1Error):
    """The rollout engine failed."""


class MissingDependency(Tracer1Error, ImportError):
    """An optional package or a system program is needed and absent; the message holds the command that installs it."""
