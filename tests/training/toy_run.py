"""Everything that a training needs, in small: shards, a planner with random weights, a reward, and command lines.

As a plugin it registers the reward `letters`, under which random text differs: else every group is a tie and nothing learns.
Under `rare` many groups are.
"""

import io
import os
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from tracer1.data.records import make_key
from tracer1.data.shards import write_shards
from tracer1.rewards import REWARDS
from tracer1.schema import DONE, NOT_DONE, Action, PlanStep, Rollout, Step

ROOT = Path(__file__).resolve().parents[2]
ROUND_STEPS = 4  # prompts of a round; an epoch has 6 steps, so it ends in the middle of round 2
PATIENCE_S = 900  # with a process; pytest-timeout is stricter


@REWARDS.register("letters")
def letters(rollout: Rollout) -> float:
    """The share of vowels: any two texts differ a little."""
    text = rollout.response.text
    return sum(text.count(vowel) for vowel in "aeiou") / max(1, len(text))


@REWARDS.register("rare")
def rare(rollout: Rollout) -> float:
    """1 for one text in four: of three rollouts nearly half the groups are tied."""
    return float(zlib.crc32(rollout.response.text.encode()) % 4 == 0)


def picture(seed: int) -> bytes:
    image = Image.frombytes("RGB", (64, 64), random.Random(seed).randbytes(64 * 64 * 3))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def toy_trajectory(name: str, count: int, seed: int, goal: str = "press the buttons") -> list[Step]:
    expert = tuple(
        PlanStep(
            Action("click", f"click button {t}", point=(100.0 * (t + 1), 500.0)),
            DONE if t == count - 1 else NOT_DONE,
            f"page {t}",
            t + 1,
        )
        for t in range(count)
    )
    return [
        Step(
            key=make_key("toy", name, t),
            dataset="toy",
            trajectory=name,
            index=t,
            instruction=goal,
            screenshot=picture(100 * seed + t),
            history=expert[:t],
            future=expert[t:],
            boxes=((0.0, 450.0, 200.0, 550.0),),
            image_size=(64, 64),
        )
        for t in range(count)
    ]


def write_toy_shards(folder: Path) -> None:
    """Two training shards (3 steps each) and one for validation (2 steps)."""
    for shard in range(2):
        steps = [toy_trajectory(f"{shard}.{i}", i + 1, 10 * shard + i) for i in range(2)]
        write_shards(steps, folder, split="train", prefix=f"toy{shard}")
    write_shards([toy_trajectory("held", 2, 77)], folder, split="val", prefix="toy")


def make_toy_planner(folder: Path, width: int = 96) -> Path:
    """A planner that is small even for a tiny one."""
    import torch
    from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

    from tracer1.models.backbone import Backbone
    from tracer1.models.tiny import Qwen2VLImageProcessorPil, tiny_config, train_tokenizer
    from tracer1.parsing import format_plan
    from tracer1.prompts import to_messages

    steps = toy_trajectory("words", 3, 1)
    texts = [p["text"] for s in steps for m in to_messages(s, 2, "brief") for p in m["content"] if "text" in p]
    tokenizer = train_tokenizer([*texts, *(format_plan(s.future, s.index + 1) for s in steps)], 384)
    torch.manual_seed(3)
    model = Qwen3VLForConditionalGeneration(tiny_config(tokenizer, width=width, layers=2, vision_width=32))
    end = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=end[1])
    size = {"shortest_edge": 1024, "longest_edge": 4096}
    mean = [0.5] * 3
    processor = Qwen2VLImageProcessorPil(
        size=size, patch_size=16, temporal_patch_size=2, image_mean=mean, image_std=mean
    )
    Backbone(model, tokenizer, processor).save(folder)
    return folder


def toy_overrides(toy: Path, outputs: Path, *more: str) -> list[str]:
    """A training of four short rounds on the toy shards; later arguments win."""
    return [
        f"model.path={toy}/planner",
        "~data.sets.miniwob",
        f"+data.sets.toy.train=[{toy}/toy*-train-*.tar]",
        f"+data.sets.toy.val=[{toy}/toy-val-*.tar]",
        "data.horizon=2",
        "data.shuffle_shards=1",
        "plugins=[toy_run]",
        "+reward.terms.letters.weight=1.0",
        "rounds=4",
        f"algorithm.prompts_per_round={ROUND_STEPS}",
        "algorithm.prompts_per_update=2",
        "algorithm.group_size=3",
        "algorithm.sampling.max_tokens=10",
        "evaluation.every=4",
        "evaluation.sampling.max_tokens=10",
        "checkpoint.every=1",
        "optimizer.lr=1e-3",
        "trainer.accelerator=cpu",
        f"paths.outputs={outputs}",
        "run_name=run",
        f"logger.tracking_uri=sqlite:///{toy}/mlflow.db",
        *more,
    ]


def command(overrides: Sequence[str]) -> list[str]:
    return [sys.executable, str(ROOT / "src" / "tracer1" / "train.py"), *overrides]


def environment() -> dict[str, str]:
    """One thread, so that sums are added in one order; the plugin can be imported."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}


def train_apart(overrides: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A training in a process of its own, to its end."""
    return subprocess.run(
        command(overrides), env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def stop_when(overrides: Sequence[str], ready: Callable[[], bool], signum: int) -> tuple[int, str]:
    """Starts a training, sends it a signal as soon as `ready`, and returns its exit code and stderr."""
    process = subprocess.Popen(
        command(overrides), env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + PATIENCE_S
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    return process.returncode, stderr


def check_equal_but_for_rounding(before: Path, one: Path, other: Path) -> None:
    """Two policies that were trained from `before` moved, and moved alike."""
    from safetensors.torch import load_file  # it loads torch, which the command lines of this module do not need

    start, mine, theirs = (load_file(folder / "model.safetensors") for folder in (before, one, other))
    moved = max(float((mine[name] - start[name]).abs().max()) for name in mine)
    apart = max(float((mine[name] - theirs[name]).abs().max()) for name in mine)
    assert moved > 1e-2
    assert apart < 1e-3 * moved
