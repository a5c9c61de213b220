"""What any entry point answers: its exit code, and one line where the user can do something about it."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import DictConfig

from tracer1.errors import ConfigError, DataError, ExecutorError
from tracer1.training import entry
from tracer1.training.entry import launch, load_plugins
from tracer1.training.overrides import CONF


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Runs a `main` under the train config; returns the exit code."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    monkeypatch.setenv("TRACER1_ROOT", str(tmp_path))

    def run(main: Callable[[DictConfig], None], *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["train.py", f"paths.outputs={tmp_path}", *arguments])
        try:
            launch(main, "train")
        except SystemExit as stop:
            return stop.code
        return 0

    yield run
    root.handlers[:], root.level = before


def raising(error: BaseException) -> Callable[[DictConfig], None]:
    def main(cfg: DictConfig) -> None:
        raise error

    return main


def test_the_config_arrives(run):
    seen = []
    assert run(seen.append, "+experiment=demo_stage1", "rounds=7") == 0
    assert seen[0].rounds == 7
    assert seen[0].executor.name is None


@pytest.mark.parametrize("error", [ConfigError, DataError, ExecutorError])
def test_a_mistake_is_one_line_and_code_2(run, capsys: pytest.CaptureFixture[str], error: type[Exception]):
    assert run(raising(error("It broke here.\n  Do that."))) == 2
    assert capsys.readouterr().err == "error: It broke here. Do that.\n"


def test_ctrl_c_is_one_line_and_code_130(run, capsys: pytest.CaptureFixture[str]):
    assert run(raising(KeyboardInterrupt("Stopped. Go on with ckpt_path=last."))) == 130
    assert capsys.readouterr().err == "Stopped. Go on with ckpt_path=last.\n"
    assert run(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_an_error_of_ours_keeps_its_traceback(run, capsys: pytest.CaptureFixture[str]):
    assert run(raising(ZeroDivisionError("ours"))) == 1
    assert "ZeroDivisionError: ours" in capsys.readouterr().err


def test_other_ranks_leave_the_word_to_rank_0(run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """They wait, so that rank 0 can end them first; what only they know is said all the same."""
    waited = []
    monkeypatch.setattr(entry, "time", SimpleNamespace(sleep=waited.append))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert run(raising(DataError("rank 1 alone"))) == 2
    assert capsys.readouterr().err == "error: rank 1 alone\n"
    assert waited == [entry.RANK_0_FIRST_S]
    assert run(raising(KeyboardInterrupt("Stopped."))) == 130
    assert capsys.readouterr().err == ""


def test_a_sweep_is_checked_run_by_run(run, capsys: pytest.CaptureFixture[str]):
    assert run(lambda cfg: None, "rounds=0,1", "-m") == 2
    assert "rounds=0 cannot work" in capsys.readouterr().err


def test_plugins_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_plugin.py").write_text("import os\nos.environ['MY_PLUGIN'] = 'seen'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MY_PLUGIN", "")
    load_plugins(["my_plugin"])
    assert os.environ["MY_PLUGIN"] == "seen"
    with pytest.raises(
        ConfigError, match=r"The plugin 'my_plugni' cannot be imported: No module named 'my_plugni'. Is its folder"
    ):
        load_plugins(["my_plugni"])


def test_deepspeed_says_what_matters_only():
    """On a machine without a GPU it tells everybody so; whatever else it says is heard."""
    pytest.importorskip("deepspeed")
    code = (
        "from tracer1.training.entry import quiet_libraries; quiet_libraries(); from deepspeed.utils import logger; "
        "from deepspeed.accelerator import get_accelerator; print(get_accelerator()._name); logger.warning('a word')"
    )
    environment = {**os.environ, "PYTHONPATH": str(CONF.parent / "src"), "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("DS_ACCELERATOR", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=250)
    name, *said = done.stdout.splitlines()
    assert name == "cpu", done.stderr
    assert [line.rpartition("] ")[2] for line in said] == ["a word"]
