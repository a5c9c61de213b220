"""Weak scaling: what is made of the rounds' seconds. The rounds themselves are `tools/bench_scaling.py`'s business."""

import pytest

from tracer1.training.bench import scaling
from tracer1.training.bench.cases import Case


class Timed:
    """Stands for a rank's process: tells the seconds that it was given, one after another."""

    def __init__(self, name: str, seconds: list[float]) -> None:
        self.name, self.seconds, self.stopped = name, list(seconds), False

    def start(self) -> None:
        pass

    def wait(self) -> None:
        pass

    def step(self, keep: bool) -> dict[str, float]:
        seconds = self.seconds.pop(0)
        return {"seconds": seconds, "cpu_s": seconds / 2}

    def stop(self) -> None:
        self.stopped = True


def test_a_round_takes_as_long_as_its_slowest_rank(monkeypatch: pytest.MonkeyPatch):
    teams = {
        1: [Timed("a", [9.0, 2.0, 2.0, 4.0])],
        2: [Timed("b", [9.0, 2.0, 2.5, 4.0]), Timed("c", [9.0, 2.5, 2.0, 5.0])],
    }
    monkeypatch.setattr(scaling, "_team", lambda case, folder, strategy, count: teams[count])
    said = []
    case = Case((64, 64), response_tokens=10, prompts=2, group_size=5)
    found = scaling.weak_scaling(case, None, "ddp", [1, 2], 3, said.append)
    assert found[1] == {
        "seconds": 2.0, "cpu_s": 1.0, "tokens_per_s": 50.0, "efficiency": 1.0, "cpu_efficiency": 1.0, "least": 1.0, "most": 1.0,
    }  # fmt: skip
    assert found[2]["tokens_per_s"] == pytest.approx(80.0)  # 2 x 100 tokens in 2.5 s
    assert found[2]["efficiency"] == pytest.approx(0.8)
    assert found[2]["cpu_efficiency"] == pytest.approx(2 * 1.0 / 2.25)
    assert len(said) == 8
    assert all(side.stopped for team in teams.values() for side in team)
    assert "| 2 | 2.50 s | 80 | 0.80 (0.80–0.80) |" in scaling.scaling_table(found)
