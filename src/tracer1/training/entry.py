"""What the entry points share: Hydra with errors of one line, exit codes, plugins, rank. It knows nothing about what they run.

Exit codes: 0 done, 2 a mistake that the user can mend (one line on stderr), 130 stopped with Ctrl-C (one line that says
how to go on), 75 stopped between two rounds by SIGTERM, SIGUSR1 or a time limit: run the same command again, with
ckpt_path=auto it goes on (training/stopping.py), 76 another process of the training is gone: likewise, at most a few times
(training/lost_ranks.py). torchrun answers each of them with 1; so the code is also written to the
file that TRACER1_EXIT_FILE names, where a launcher sets it.
"""

import importlib
import importlib.metadata
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from tracer1.errors import ConfigError, Tracer1Error
from tracer1.training.overrides import CONF, check_command_line, check_composed, job_overrides, said_overrides
from tracer1.training.sweep_job import in_sweep

INTERRUPTED = 130  # what a shell says of a program that SIGINT has ended
REQUEUE = 75  # EX_TEMPFAIL of sysexits.h: try again later
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # schedulers: end soon; SLURM's --signal=USR1@600
LOST = 76  # EX_PROTOCOL: the other side is not there
RANK_0_FIRST_S = 3.0  # seconds that other ranks wait: what all ranks find is said once, by rank 0, which then ends them


def launch(
    main: Callable[[DictConfig], None],
    config_name: str,
    rehearse: Callable[[dict[str, Any]], None] | None = None,
    demonstrate: Callable[[dict[str, Any], list[str]], None] | None = None,
    study: Callable[[dict[str, Any], list[str]], object] | None = None,
) -> None:
    """Runs an entry point under Hydra.

    Args:
        main: Takes the config; a Tracer1Error it raises becomes one line and exit code 2.
        config_name: The root config in `conf/`.
        rehearse: Takes the plain config instead when it says `dry_run: true`, without Hydra's folders and log.
        demonstrate: Likewise when it says `recipe: demo`; takes the overrides of the command line, too.
        study: Takes the plain config of one job of a sweep and its overrides instead when it says `recipe: study`.
    """
    os.environ.setdefault("TRACER1_ROOT", str(CONF.parent))

    def run(config: dict[str, Any], run_it: Callable[[], None]) -> None:
        rehearsed = rehearse is not None and config.get("dry_run")
        if not rehearsed and (demonstrate is None or config.get("recipe") != "demo"):
            run_it()
        elif _rank() == 0:
            load_plugins(config["plugins"])
            if rehearsed:
                rehearse(config)
            else:
                demonstrate(config, said_overrides())

    def guarded(cfg: DictConfig) -> None:
        try:
            # again: of a sweep, or of a config from elsewhere, nothing has been checked yet
            config = check_composed(in_sweep(cfg))
            one_job = study is not None and config.get("recipe") == "study"
            run(config, (lambda: study(config, job_overrides())) if one_job else (lambda: main(cfg)))
        except Tracer1Error as error:
            fail(str(error))
        except InstantiationException as error:  # Hydra's wrapping of what a `_target_` raised
            cause = error.__cause__
            fail(str(cause) if isinstance(cause, Tracer1Error) else str(error))
        except OmegaConfBaseException as error:
            fail(f"The config cannot be read: {str(error).splitlines()[0]}")

    try:
        config = check_command_line(config_name)
        run(config, hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(guarded))
    except Tracer1Error as error:
        fail(str(error))
    except KeyboardInterrupt as stop:
        if _rank() == 0:
            sys.stderr.write(f"{str(stop) or 'Stopped.'}\n")
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        tell_launcher(end.code)
        raise


def fail(message: str) -> NoReturn:
    """Says what is wrong in one line and leaves with code 2."""
    if _rank() > 0:
        time.sleep(RANK_0_FIRST_S)
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.stderr.flush()
    tell_launcher(2)
    sys.exit(2)


def tell_launcher(code: object) -> None:
    """Any rank may: those of a node say the same."""
    if path := os.environ.get("TRACER1_EXIT_FILE"):
        Path(path).write_text(f"{code}\n", encoding="utf-8")


def _rank() -> int:
    """This process's rank, as a launcher (torchrun, SLURM, Lightning) tells it."""
    return int(next((os.environ[n] for n in ("RANK", "SLURM_PROCID", "LOCAL_RANK") if os.environ.get(n)), 0))


def load_plugins(modules: Iterable[str]) -> None:
    """Imports modules of the user's, and those that installed packages offer as `tracer1.plugins`: they register themselves."""
    for entry in importlib.metadata.entry_points(group="tracer1.plugins"):
        entry.load()
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ConfigError(
                f"The plugin {module!r} cannot be imported: {error}. Is its folder on PYTHONPATH, and its name right?"
            ) from error


def quiet_libraries() -> None:
    """Silences what a user of tracer1 cannot act upon: libraries' advice, progress bars of single seconds, idle work."""
    import torch
    import transformers

    for name in ("lightning.pytorch", "lightning.fabric", "transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning").handlers.clear()  # it says everything twice: here, and through the root's handlers
    logging.getLogger("DeepSpeed").addFilter(_is_news)
    logging.getLogger("aiobotocore").setLevel(logging.WARNING)  # it says at every start where it found credentials
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # every attempt at a hub that is not reached
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", r"`isinstance\(treespec", FutureWarning)  # torch to Lightning
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)  # torch to DeepSpeed
    warnings.filterwarnings("ignore", r"The `srun` command is available")  # Lightning, where SLURM is installed
    # Deterministic mode would write into every new tensor before it is used: 7 % of a round on a CPU
    torch.utils.deterministic.fill_uninitialized_memory = False


def _is_news(record: logging.LogRecord) -> bool:
    """That there is no GPU is none: whoever saves a model with DeepSpeed installed is told so on stdout, in the middle of the summary."""
    return not record.getMessage().startswith("Setting accelerator to CPU")
