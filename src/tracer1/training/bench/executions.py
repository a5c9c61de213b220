"""Times a round of executions against a chat server that misbehaves, and accounts for every rollout. It knows no reward.

The server runs in a process of its own on this machine and takes no time to think: what is measured is the client.
"""

import io
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tracer1.executors.ui_tars import UiTarsExecutor
from tracer1.schema import Action, Outcome, Plan, PlanStep, Response, Rollout, Step
from tracer1.training.bench.chat_server import FAULTS, ChatServer


@dataclass(frozen=True, slots=True)
class Load:
    """What a round executes.

    Args:
        prompts, group: Screenshots, and rollouts of each.
        distinct: Different instructions within a group: the others are the same request.
        faults: Share of the server's answers that are spoilt, in equal parts by `chat_server.FAULTS`.
        slow_s: How long a slow answer takes, in seconds.
        pixels: Width and height of a screenshot.
    """

    prompts: int = 512
    group: int = 5
    distinct: int = 5
    faults: float = 0.05
    slow_s: float = 10.0
    pixels: tuple[int, int] = (1080, 2400)


def answer(body: Mapping[str, Any]) -> str:
    """Clicks at the number at the instruction's end: a mix-up of requests would show."""
    number = int(body["messages"][0]["content"].rsplit("#", 1)[1])
    return f"Thought: that one.\nAction: click(start_box='({number % 1000},{number // 1000})')"


def make_rollouts(load: Load, seed: int = 0) -> list[Rollout]:
    """Rollout i wants a click at (n % 1000, n // 1000), where n is the number in its instruction."""
    screenshot = _screenshot(load.pixels, seed)
    rollouts = []
    for prompt in range(load.prompts):
        image = screenshot + prompt.to_bytes(8)  # bytes after a PNG's end are no part of the picture
        expert = PlanStep(Action("wait"))
        step = Step(f"bench-a-{prompt:04d}", "bench", "a", 0, "do it", image, (), (expert,), platform="mobile")
        for i in range(load.group):
            number = prompt * load.group + i % load.distinct
            plan = Plan((PlanStep(Action("click", f"Press button #{number}")),))
            rollouts.append(Rollout(step, Response("", (), ()), plan))
    return rollouts


def _screenshot(size: tuple[int, int], seed: int) -> bytes:
    """A PNG of lines and noise, about as large as a phone's."""
    from PIL import Image, ImageDraw

    chance = random.Random(seed)
    image = Image.new("RGB", size, "white")
    noise = Image.frombytes("L", (size[0] // 2, size[1] // 8), chance.randbytes((size[0] // 2) * (size[1] // 8)))
    image.paste(noise, (0, 0))
    draw = ImageDraw.Draw(image)
    for _ in range(400):
        x, y = chance.randrange(size[0]), chance.randrange(size[1])
        draw.rectangle([x, y, x + chance.randrange(200), y + 20], fill=tuple(chance.randbytes(3)))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@contextmanager
def server_process(load: Load) -> Iterator[tuple[str, Connection]]:
    """The URL of a misbehaving server; a message through the pipe is answered with its counts."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(load, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv(), ours
    finally:
        process.terminate()
        process.join()


def _serve(load: Load, pipe: Connection) -> None:
    shares = dict.fromkeys(FAULTS, load.faults / len(FAULTS))
    server = ChatServer(answer, shares=shares, slow_s=load.slow_s)
    server.keep = False
    pipe.send(server.start())
    while True:
        pipe.recv()
        pipe.send(dict(server.counts))


def account(rollouts: Sequence[Rollout], outcomes: Sequence[Outcome]) -> Counter[str]:
    """How many rollouts came to what: `executed`, `cached` among them, `masked`; `mixed up` and `verdicts` ought to be none."""
    counts: Counter[str] = Counter()
    for rollout, outcome in zip(rollouts, outcomes, strict=True):
        number = int(rollout.plan.steps[0].action.step_instruction.rsplit("#", 1)[1])
        if outcome.fault:
            counts["masked"] += 1
        elif outcome.action is None:
            counts["verdicts"] += 1
        elif outcome.action.point != (number % 1000, number // 1000):
            counts["mixed up"] += 1
        else:
            counts["executed"] += 1
            counts["cached"] += outcome.cached
    return counts


def measure(load: Load, settings: Mapping[str, Any], cache: str | None = None) -> dict[str, Any]:
    """One round.

    Args:
        load: Its size.
        settings: Of the executor's server, see `chat.Patience`.
        cache: Folder of the replies; a second round with the same one asks nobody.

    Returns:
        rollouts, seconds, rollouts per second, CPU seconds of this process, what became of them, what the server did.
    """
    rollouts = make_rollouts(load)
    with server_process(load) as (url, pipe):
        executor = UiTarsExecutor("toy", server={"endpoints": [url], **settings}, cache=cache)
        begin, busy = time.perf_counter(), time.process_time()
        outcomes = executor.execute(rollouts)
        seconds, busy = time.perf_counter() - begin, time.process_time() - busy
        executor.asker.close()
        pipe.send("counts")
        served = pipe.recv()
    return {
        "rollouts": len(rollouts),
        "seconds": round(seconds, 2),
        "rollouts_per_s": round(len(rollouts) / seconds, 1),
        "cpu_seconds": round(busy, 2),
        "screenshot_kb": len(rollouts[0].step.screenshot) // 1000,
        "outcomes": dict(account(rollouts, outcomes)),
        "answers": served,
    }
