"""A dry run: what it says about the paper's run and others, what it leaves undone, and what it answers to mistakes."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tracer1.errors import ConfigError, UnknownName
from tracer1.training.dry_run import rehearse
from tracer1.training.overrides import CONF, check_overrides

PAPER = ("+experiment=stage1_gui", "optimizer=adamw_kahan", "strategy=ddp", "trainer.devices=8")
LORA = "model.lora={rank: 32, alpha: 64}"


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER1_ROOT", str(CONF.parent))


def config_of(*overrides: str) -> dict:
    return check_overrides("train", list(overrides))


def screen(*overrides: str) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    rehearse(config_of(*overrides), console)
    return console.file.getvalue()


# --- the screen --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        PAPER,
        (*PAPER, LORA, "engine=vllm"),
        (*PAPER, "model.freeze_vision_tower=true", "algorithm.old_logprobs=first_update_on_policy"),
        ("+experiment=stage1_gui", "model=qwen3_vl_32b", "strategy=ddp", "trainer.devices=8", "algorithm.kl_coef=0"),
        ("+experiment=demo_stage1",),
        ("+experiment=demo_stage2", "model.path=demo/tiny_planner"),
        ("+experiment=demo_tool",),
        ("+experiment=warmstart", "model.path=Qwen/Qwen3-VL-4B-Thinking", "trainer.precision=bf16-mixed"),
        ("+experiment=stage1_gui", "algorithm=dapo", "engine=vllm_server", "engine.url=http://localhost:1"),
        ("engine=recorded", "engine.folder=rollouts", "algorithm=gspo"),
    ],
)
def test_one_screen(overrides: tuple[str, ...]):
    lines = screen(*overrides).splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 56
    assert not any("…" in line for line in lines)  # nothing is cut off


def test_the_screen_of_the_papers_run():
    text = screen(*PAPER)
    for said in (
        "stage1_gui: dry run of Qwen/Qwen3-VL-8B-Thinking (8.77 B parameters, 8.77 B trained)",
        "366,080",
        "572",
        "Assumed, not measured: 8 x H100 SXM 80 GB, 35% of its operations",
        "two moments and Kahan's remainder, bfloat16",
        "It would fit with",
    ):
        assert said in text


# --- what it leaves undone, and mistakes -------------------------------------------------------------------------------------


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(CONF.parent / "src" / "tracer1" / "train.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_it_loads_and_writes_nothing(tmp_path: Path):
    """No folder, no log, no MLflow store; no torch, and no file of the data that the config names."""
    spy = "import sys, runpy; sys.argv = ['train.py', *sys.argv[1:]]\n" + (
        "try:\n    runpy.run_path(FILE, run_name='__main__')\n"
        "finally:\n    print('loaded:', [m for m in ('torch', 'transformers', 'lightning', 'mlflow') if m in sys.modules])"
    ).replace("FILE", repr(str(CONF.parent / "src" / "tracer1" / "train.py")))
    arguments = ("+experiment=stage1_gui", "dry_run=true", "data.sets.gui.train=[/nowhere/*.tar]")
    done = subprocess.run(
        [sys.executable, "-c", spy, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "loaded: []" in done.stdout
    assert "366,080" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_cfg_stays_hydras(tmp_path: Path):
    done = run("+experiment=stage1_gui", "dry_run=true", "--cfg", "job", cwd=tmp_path)
    assert done.returncode == 0
    assert "dry_run: true" in done.stdout
    assert "Operations" not in done.stdout


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["dry_run=maybe"], "error: dry_run='maybe' cannot work: it must be one of true, false."),
        (["dry_run=true", "model.path=Qwen/Qwen3-VL-7B"], "error: model.path=Qwen/Qwen3-VL-7B: there is no"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(tmp_path: Path, overrides: list[str], said: str):
    done = run(*overrides, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["engine.name=vlm"], "No engine 'vlm'. Did you mean 'vllm'"),
        (["executor.name=drect"], "No executor 'drect'. Did you mean 'direct'"),
        (["+reward.terms.fromat.weight=1"], "No reward 'fromat'. Did you mean 'format'"),
        (["algorithm.prompts_per_update=100"], "512 is not divisible by 100"),
        (["strategy=ddp", "trainer.devices=3"], "is not divisible by"),
        (["assume.screenshot=[1920]"], "assume.screenshot="),
        (["recipe=warmstart"], "add +experiment=warmstart"),
        (["model.lora={rnk: 3}"], "model.lora="),
        (["algorithm.surrogate=sequence"], "Set algorithm.average=sequences"),
        (["algorithm.kl_in=reward", "algorithm.kl_coef=0"], "takes nothing off the reward"),
        (["+experiment=stage2_gui"], "outputs/stage1_gui/policy: there is no"),
    ],
)
def test_other_mistakes(overrides: list[str], said: str):
    with pytest.raises((ConfigError, UnknownName)) as error:
        screen(*overrides)
    assert said in str(error.value)


def test_only_rank_0_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    done = run("+experiment=stage1_gui", "dry_run=true", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict]]:
    """What an entry point's rehearsal is given."""
    from tracer1.training.entry import launch

    def launched(*arguments: str) -> list[dict]:
        seen: list[dict] = []
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        launch(lambda cfg: pytest.fail("the run itself began"), "train", seen.append)
        return seen

    return launched


def test_an_entry_point_rehearses_instead_of_running(launched, tmp_path: Path):
    (config,) = launched("dry_run=true", "rounds=7", f"paths.outputs={tmp_path / 'outputs'}")
    assert config["rounds"] == 7
    assert not (tmp_path / "outputs").exists()
