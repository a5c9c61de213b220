"""What tests read from the page of an environment; an agent never could."""

import psutil

from tracer1.environments._miniwob.host import SHARED
from tracer1.environments.miniwob import MiniWob
from tracer1.schema import Action


def evaluate(one: MiniWob, script: str):
    return SHARED.run(one._episode.document.evaluate(script))


def middle(one: MiniWob, selector: str) -> tuple[float, float]:
    x, y = evaluate(
        one,
        f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('{selector}').getBoundingClientRect())",
    )
    return x / 0.16, y / 0.21


def solve_one(one: MiniWob) -> float:
    one.reset("click-test", 1)
    assert one.step(Action("click", point=middle(one, "#subbtn")))[1]
    return one.score()


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
