"""The toy training's folder, made once, and trainings in this process that leave no trace in it."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import toy_run


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards, `planner/` and one MLflow store for all toy trainings. Nobody changes what is in it."""
    folder = tmp_path_factory.mktemp("toy")
    toy_run.write_toy_shards(folder)
    toy_run.make_toy_planner(folder / "planner")
    return folder


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Sums are added in one order, the one of `toy_run.environment`."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def policy(toy: Path):
    """A policy of the toy planner; `make` gives it an objective."""
    from tracer1.models.policy import PolicyModule

    prompt = {"horizon": 2, "style": "brief"}
    return PolicyModule(str(toy / "planner"), prompt=prompt, optimizer=lambda parameters: None)


@pytest.fixture(scope="module")
def reference(toy: Path):
    """What the policy is held to."""
    from tracer1.models.reference import ReferenceModule

    return ReferenceModule(str(toy / "planner"))


@pytest.fixture
def make(policy, reference) -> Callable[..., object]:
    """`make(sampling=..., objective=...)`: an ExperienceStream of small parts, see `toy_loop.make_stream`."""
    from toy_loop import make_stream

    return lambda **changes: make_stream(policy, reference, **changes)


@dataclass(frozen=True)
class Finished:
    """How a program ended."""

    code: int
    stderr: str

    @property
    def error(self) -> str:
        """The one line that it said, which began with `error: `."""
        lines = [line for line in self.stderr.splitlines() if not line.startswith(("INFO", "WARNING"))]
        assert self.code == 2, self.stderr
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")


@pytest.fixture
def program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[str, Sequence[str]], Finished]]:
    """`program("train", arguments)` runs an entry point in this process as the command line would."""
    from hydra.core.hydra_config import HydraConfig

    import tracer1.eval
    import tracer1.train
    from tracer1.training.entry import launch

    mains = {"train": tracer1.train.main, "eval": tracer1.eval.main}
    root, lightning = logging.getLogger(), logging.getLogger("lightning")
    before = root.handlers[:], root.level, lightning.handlers[:]
    environment = os.environ.copy()
    folder = os.getcwd()

    def run(name: str, arguments: Sequence[str]) -> Finished:
        monkeypatch.setattr(sys, "argv", [str(toy_run.ROOT / "src" / "tracer1" / f"{name}.py"), *arguments])
        code = 0
        try:
            launch(mains[name], name)
        except SystemExit as stop:
            code = stop.code
        return Finished(code, capsys.readouterr().err)

    with warnings.catch_warnings():
        yield run
    os.environ.clear()
    os.environ.update(environment)
    HydraConfig.instance().cfg = None
    root.handlers[:], root.level, lightning.handlers[:] = before
    assert os.getcwd() == folder


@pytest.fixture
def train(program: Callable[..., Finished], toy: Path, tmp_path: Path) -> Callable[..., Finished]:
    """`train("rounds=2", ...)`: a toy training into `tmp_path / "run"`."""
    return lambda *more: program("train", toy_run.toy_overrides(toy, tmp_path, *more))
