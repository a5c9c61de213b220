"""Checks a command line before Hydra runs it: unknown groups, choices and settings are answered with the nearest known one.

It composes the config and reads its settings; it knows nothing about what they do, and it loads no torch.
"""

import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tracer1.errors import ConfigError
from tracer1.registry import nearest
from tracer1.training.settings import check_settings

CONF = Path(__file__).resolve().parents[3] / "conf"


def check_command_line(config_name: str) -> dict[str, Any]:
    """Composes the config that `sys.argv` asks for, checks every setting, and sees that the run's folder can be made.

    Sweeps, help, configs to be shown, and those from elsewhere are left to Hydra.

    Returns:
        The config as plain values; nothing of what is left to Hydra.

    Raises:
        ConfigError: a mistake in it.
    """
    arguments = get_args_parser().parse_args(sys.argv[1:])
    if arguments.multirun:
        _check_choices(arguments.overrides)
    elsewhere = arguments.config_path or arguments.config_name or arguments.experimental_rerun
    if arguments.multirun or arguments.help or arguments.hydra_help or arguments.shell_completion or elsewhere:
        return {}
    overrides = list(arguments.overrides)
    if arguments.config_dir:
        overrides.append(f"hydra.searchpath=[file://{Path(arguments.config_dir).resolve()}]")
    config = _check_sweep(config_name, overrides)
    if arguments.cfg or arguments.info:
        return {}
    if not config.get("dry_run"):
        _make_folder(Path(config["paths"]["output_dir"]))
    return config


def _check_sweep(config_name: str, overrides: list[str]) -> dict[str, Any]:
    """The config as plain values; a study sweeps without --multirun, and its swept values are left to Hydra."""
    try:
        return check_overrides(config_name, overrides)
    except ConfigError:
        rest = [text for text in overrides if not sweeps(text)]
        if len(rest) == len(overrides) or (config := check_overrides(config_name, rest)).get("recipe") != "study":
            raise
        return config


def sweeps(text: str) -> bool:
    """Whether an override has several values, one for each job."""
    try:
        return OverridesParser.create().parse_override(text).is_sweep_override()
    except HydraException:  # whoever composes it says what is wrong
        return False


def said_overrides() -> list[str]:
    """The overrides of the command line, as they were said."""
    return list(get_args_parser().parse_args(sys.argv[1:]).overrides)


def job_overrides() -> list[str]:
    """The overrides of the job that Hydra is running, those of its sweep included."""
    return list(HydraConfig.get().overrides.task)


def check_overrides(config_name: str, overrides: list[str]) -> dict[str, Any]:
    """The composed config as plain values.

    Args:
        config_name: The root config in `conf/`.
        overrides: As on the command line.

    Raises:
        ConfigError: an unknown group, choice or setting, or a value that cannot work.
    """
    try:
        _check_choices(overrides)
        with initialize_config_dir(str(CONF), version_base="1.3"):
            try:
                config = compose(config_name, overrides)
            except MissingConfigException as error:
                raise ConfigError(_unknown_choice(error)) from error
            except ConfigCompositionException as error:
                raise ConfigError(_unknown(config_name, overrides, str(error))) from error
            return check_composed(config, _root(config_name))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"The config cannot be read: {str(error).splitlines()[0]}") from error
    finally:
        GlobalHydra.instance().clear()


@cache
def _root(config_name: str) -> DictConfig:
    """The config without overrides: a study checks dozens of command lines."""
    return compose(config_name)


def check_composed(config: DictConfig, root: DictConfig | None = None) -> dict[str, Any]:
    """The config as plain values, every setting checked.

    Args:
        config: What the run is made of.
        root: The config without overrides: its top-level settings are known, and others are not. None knows any.

    Raises:
        ConfigError: a setting that nobody reads, or a value that cannot work.
    """
    gone = [] if root is None else [group for group in _groups() if group in root and group not in config]
    if gone:
        raise ConfigError(f"The group {gone[0]!r} was removed. Choose one of: {', '.join(_choices(gone[0]))}.")
    plain = OmegaConf.to_container(config, resolve=True)
    own = plain if root is None else OmegaConf.to_container(root, resolve=False)
    check_settings(plain, tuple(name for name, value in own.items() if not isinstance(value, dict)))
    return plain


def _make_folder(folder: Path) -> None:
    """Hydra would answer a folder that cannot be made with a traceback."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        raise ConfigError(
            f"The run's folder {folder} cannot be made: {error.strerror}. Choose another paths.outputs."
        ) from error
    if not writable:
        raise ConfigError(f"The run's folder {folder} cannot be written to. Choose another paths.outputs.")


def _check_choices(overrides: list[str]) -> None:
    """Hydra would answer a group that is null, or a number, with a traceback."""
    groups = _groups()
    for text in overrides:
        try:
            said = OverridesParser.create().parse_override(text)
        except HydraException:  # whoever composes it says what is wrong
            continue
        group, value = said.key_or_group, said.value()
        if group in groups and not said.is_delete() and isinstance(value, int | float | None):
            written = "null" if value is None else value
            raise ConfigError(f"The group {group!r} cannot be {written}. Choose one of: {', '.join(_choices(group))}.")


def _groups() -> list[str]:
    return sorted(path.name for path in CONF.iterdir() if path.is_dir())


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def _unknown_choice(error: MissingConfigException) -> str:
    name = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, choice = name.rpartition("/")
    known = _choices(group)
    return f"There is no {group or 'config'} {choice!r}.{nearest(choice, known)} Known: {', '.join(known)}."


def _unknown(config_name: str, overrides: list[str], message: str) -> str:
    """Hydra's message names what it could not override; the nearest known name is added."""
    if twice := re.match(r"Multiple values for (\S+)\.", message):
        return f"The group {twice[1]!r} has a choice already: choose another without a plus, {twice[1]}=..."
    found = re.search(r"Could not (?:override|append to config[^']*) '([^']+)'", message)
    if found is None:
        return " ".join(message.split())
    key = found[1].split("=")[0].lstrip("+~")
    groups = _groups()
    if key in groups:
        return f"The group {key!r} is added with a plus: +{key}=..."
    choices = [o for o in overrides if o.lstrip("+").split("=")[0] in groups]
    known = [*_names(OmegaConf.to_container(compose(config_name, choices), resolve=False)), *groups]
    return f"There is no setting {key!r}.{nearest(key, known)} See all of them with --cfg job."


def _names(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted name in a config, groups included."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{key}.")
