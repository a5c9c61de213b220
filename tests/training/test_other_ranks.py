"""Another number of ranks goes on from a checkpoint: nothing of the data is lost or comes twice, and the weights are the same."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from safetensors.torch import load_file
from toy_episodes import make_episodes
from toy_run import ROOT, environment

from tracer1.data.datamodule import StepDataModule
from tracer1.errors import CheckpointError
from tracer1.plan_act.episode import Job
from tracer1.training.checkpoints import check_kind, describe
from tracer1.training.checkpoints.export import export_checkpoint
from tracer1.training.warmstart import ExampleBatches, Recipe, WarmstartStream

# --- the data ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("worlds", [(2, 1), (1, 2), (3, 2, 1)])
def test_episodes_are_played_once(policy, reference, worlds: tuple[int, ...]):
    """Dynamic sampling lets ranks draw unequally: what one had not reached is played by those that come after it."""
    numbers, positions = Counter(), []
    for world in worlds:
        streams = [make_episodes(policy, reference, place=(rank, world)) for rank in range(world)]
        for rank, stream in enumerate(streams):
            stream.tasks = Numbers(numbers)
            if positions:
                stream.take_over(positions)
            for _ in range(2 + 3 * rank):
                stream._jobs()
        again = make_episodes(policy, reference, place=(0, world))
        again.restore(streams[0].position())
        assert again.position() == streams[0].position()
        positions = [stream.position() for stream in streams]
    (one,) = [make_episodes(policy, reference, place=(0, 1))]
    one.tasks = Numbers(numbers)
    one.take_over(positions)
    for _ in range(40):
        one._jobs()
    assert numbers == Counter(range(len(numbers)))


class Numbers:
    """Tasks that count who is drawn."""

    def __init__(self, seen: Counter) -> None:
        self.seen = seen

    def job(self, number: int):
        self.seen[number] += 1
        return Job("task", number)


class Keys(ExampleBatches):
    """Batches of keys, of nothing else."""

    def make(self, steps, index):
        return index, [step.key for step in steps]


def warmstart(toy: Path, rank: int, world: int) -> WarmstartStream:
    data = StepDataModule({"toy": {"train": [f"{toy}/toy*-train-*.tar"]}}, num_workers=0, shuffle_shards=1)
    batches = Keys(lambda: data.train_stream(rank, world), None, None, Recipe(), 1)
    return WarmstartStream(batches, 1, steps_of=data.train_stream, share=(rank, world))


def test_a_warm_start_goes_on_with_what_was_not_read(toy: Path):
    """An epoch has 6 steps: two ranks read two each, and one the rest; then two the next epoch."""
    two = [warmstart(toy, rank, 2) for rank in range(2)]
    seen = [key for stream in two for _ in range(2) for _, (key,) in stream]
    one = warmstart(toy, 0, 1)
    one.take_over([stream.position() for stream in two])
    seen += [key for _, (key,) in one]
    again = warmstart(toy, 0, 1)
    again.restore(one.position())  # the same number goes on as before
    ((index, last),) = list(again)
    assert [(index, last)] == [tuple(batch) for batch in one]
    assert index == 3  # batches go on counting: the noise of an example is that of its batch
    assert Counter([*seen, *last]) == Counter(dict.fromkeys({*seen, *last}, 1))
    assert len({*seen, *last}) == 6
    next_two = [warmstart(toy, rank, 2) for rank in range(2)]
    for stream in next_two:
        stream.take_over([one.position()])
    assert len({key for stream in next_two for _ in range(3) for _, (key,) in stream}) == 6


# --- the weights -------------------------------------------------------------------------------------------------------------

TOGETHER = (("ddp", "fsdp2"), ("zero2", "zero3"))  # in one program
NAMES = [name for names in TOGETHER for name in names]


@pytest.fixture(scope="module")
def done(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`done("ddp")` is where ranks have trained with a strategy; see `toy_other_ranks.py`."""

    @cache
    def train(names: tuple[str, ...]) -> Path:
        folder = tmp_path_factory.mktemp("other")
        path = os.pathsep.join([str(ROOT / "src"), str(Path(__file__).parent)])
        # DeepSpeed compiles an optimizer at its import that nobody asks for
        env = {**environment(), "PYTHONPATH": path, "DS_ACCELERATOR": "cpu", "TORCHDYNAMO_DISABLE": "1"}
        program = [sys.executable, str(Path(__file__).with_name("toy_other_ranks.py"))]
        with (folder / "log").open("w") as log:
            command = [*program, str(folder), str(toy / "planner"), *names]
            code = subprocess.run(command, env=env, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        assert code == 0, (folder / "log").read_text()[-5000:]
        return folder

    return lambda name: train(next(names for names in TOGETHER if name in names))


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_then_one_then_two(done: Callable[[str], Path], name: str):
    """Weights and the optimizer's moments, as if the number had never changed; and every rank's place is handed over."""
    folder = done(name)
    whole, one, two = (torch.load(folder / f"{name}.{phase}.pt") for phase in ("whole", "one", "two"))
    moved = apart(whole["weights"], one["weights"])
    assert moved > 1e-3
    assert apart(whole["weights"], two["weights"]) < 1e-3 * moved
    assert (one["taken"], two["taken"]) == ([0, 1], [0])
    said = [describe(folder / name / at) for at in ("whole/round-000003.ckpt", "one/round-000002.ckpt")]
    assert [manifest.world_size for manifest in said] == [2, 1]
    left = {path.name for phase in ("whole", "one") for path in (folder / name / phase).glob("*.universal")}
    assert left == (
        {"round-000001.ckpt.universal", "round-000002.ckpt.universal"} if name.startswith("zero") else set()
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_is_taken_out_of_any_checkpoint(done: Callable[[str], Path], tmp_path: Path, name: str):
    """Without ranks, without a GPU."""
    export_checkpoint(done(name) / name / "whole", tmp_path / "policy")
    policy = load_file(tmp_path / "policy" / "model.safetensors")
    assert apart(policy, torch.load(done(name) / f"{name}.whole.pt")["weights"]) == 0


def test_another_kind_of_strategy_is_told(done: Callable[[str], Path]):
    path = done("zero2") / "zero2" / "whole" / "round-000003.ckpt"
    with pytest.raises(
        CheckpointError, match=r"written with strategy=zero1, zero2 or zero3, .* tools/export_policy.py"
    ):
        check_kind(path, describe(path), SingleDeviceStrategy())
