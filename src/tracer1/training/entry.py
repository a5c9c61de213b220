"""What the entry points share: Hydra with errors of one line, exit codes, plugins, rank. It knows nothing about what they run.

Exit codes: 0 done, 2 a mistake that the user can mend (one line on stderr), 130 stopped with Ctrl-C.
"""

import importlib
import importlib.metadata
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tracer1.errors import ConfigError, Tracer1Error
from tracer1.registry import nearest

CONF = Path(__file__).resolve().parents[3] / "conf"


def launch(main: Callable[[DictConfig], None], config_name: str) -> None:
    """Runs an entry point under Hydra.

    Args:
        main: Takes the config; a Tracer1Error it raises becomes one line and exit code 2.
        config_name: The root config in `conf/`.
    """
    os.environ.setdefault("TRACER1_ROOT", str(CONF.parent))
    overrides = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if not {"-m", "--multirun", "--help", "-h", "--hydra-help"} & set(sys.argv[1:]):
        check_overrides(config_name, overrides)

    def guarded(cfg: DictConfig) -> None:
        try:
            main(cfg)
        except Tracer1Error as error:
            fail(str(error))
        except OmegaConfBaseException as error:
            fail(f"The config cannot be read: {str(error).splitlines()[0]}")

    hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(guarded)()


def fail(message: str) -> NoReturn:
    """Says what is wrong in one line and leaves with code 2."""
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.stderr.flush()
    sys.exit(2)


def check_overrides(config_name: str, overrides: list[str]) -> None:
    """Composes the config once before Hydra does, to answer a mistake with the nearest known name."""
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            compose(config_name, overrides)
    except MissingConfigException as error:
        fail(_unknown_choice(error))
    except ConfigCompositionException as error:
        fail(_unknown_key(config_name, overrides, str(error)))
    except (HydraException, OmegaConfBaseException) as error:
        fail(str(error).splitlines()[0])
    finally:
        GlobalHydra.instance().clear()


def _unknown_choice(error: MissingConfigException) -> str:
    name = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, choice = name.rpartition("/")
    known = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    return f"There is no {group or 'config'} {choice!r}.{nearest(choice, known)} Known: {', '.join(known)}."


def _unknown_key(config_name: str, overrides: list[str], message: str) -> str:
    """Hydra's message names the key that it could not override; the nearest known key is added."""
    found = re.search(r"Could not (?:override|append to config[^']*) '([^']+)'", message)
    if found is None:
        return message.splitlines()[0]
    key = found[1].split("=")[0].lstrip("+~")
    if "/" not in key and "No match in the defaults list" in message:
        groups = sorted(path.name for path in CONF.iterdir() if path.is_dir())
        return f"There is no config group {key!r}.{nearest(key, groups)} Known: {', '.join(groups)}."
    chosen = [o for o in overrides if "=" in o and "." not in o.split("=")[0] and key not in o]
    try:
        cfg = compose(config_name, chosen)
    except HydraException:
        cfg = compose(config_name)
    known = sorted(_keys(cfg))
    return f"There is no setting {key!r}.{nearest(key, known)} See all of them with --cfg job."


def _keys(cfg: DictConfig, prefix: str = "") -> Iterable[str]:
    for key, value in OmegaConf.to_container(cfg, resolve=False).items():
        yield from _flat(f"{prefix}{key}", value)


def _flat(name: str, value: object) -> Iterable[str]:
    yield name
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)


def one_of(name: str, value: str, known: list[str]) -> None:
    """Raises ConfigError with the nearest known value."""
    if value not in known:
        raise ConfigError(f"{name}={value!r} is not known.{nearest(str(value), known)} Known: {', '.join(known)}.")


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
    """Libraries' advice that a user of tracer1 cannot act upon."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric", "transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
