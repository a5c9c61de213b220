"""The runner that keeps environments busy, with environments that fail as they are told to: no browser is needed."""

import threading

import pytest

from tracer1.environments._miniwob import bench
from tracer1.environments._miniwob.bench import Killer, Script, play_all
from tracer1.errors import ConfigError, EnvironmentFault
from tracer1.interfaces import Observation
from tracer1.schema import Action

SCRIPTS = [Script("task", seed, (Action("wait"), Action("wait"), Action("wait"))) for seed in range(20)]


class FakeEnvironment:
    """Ends an episode with its second action; `faults` says how often a seed breaks off before it goes well."""

    platform = "web"

    def __init__(self, faults: dict[int, int] | None = None, error: Exception | None = None) -> None:
        self.faults, self.error = {} if faults is None else faults, error
        self.seed, self.steps, self.threads = -1, 0, set()

    def reset(self, task: str, seed: int) -> tuple[str, Observation]:
        self.seed, self.steps = seed, 0
        self.threads.add(threading.get_ident())
        return task, Observation(b"")

    def step(self, action: Action) -> tuple[Observation, bool]:
        if self.error:
            raise self.error
        if self.faults.get(self.seed, 0):
            self.faults[self.seed] -= 1
            raise EnvironmentFault("as told")
        self.steps += 1
        return Observation(b""), self.steps == 2

    def score(self) -> float:
        return 1.0 if self.seed % 2 else 0.5

    def close(self) -> None: ...


def test_every_episode_is_played_once_and_ends_where_the_environment_says():
    numbers: list[int] = []
    fakes = [FakeEnvironment() for _ in range(4)]
    played = play_all(fakes, SCRIPTS, numbers.append)
    assert (played.episodes, played.solved, played.begun_again, played.lost) == (20, 10, 0, [])
    assert numbers == list(range(1, 21))
    assert all(len(fake.threads) <= 1 for fake in fakes)


def test_a_fault_is_begun_again_also_at_the_very_end():
    faults = {0: 1, 7: 3, 19: 2}  # shared by both: a seed breaks off wherever it is played
    played = play_all([FakeEnvironment(faults), FakeEnvironment(faults)], SCRIPTS)
    assert (played.episodes, played.begun_again, played.lost) == (20, 6, [])


def test_an_episode_that_never_goes_well_is_counted_as_lost_and_ends_the_run():
    played = play_all([FakeEnvironment({3: 1000})], SCRIPTS)
    assert played.episodes == 19
    assert [script.seed for script in played.lost] == [3]
    assert played.begun_again == bench.BEGIN_AGAIN - 1


def test_another_error_stops_all_and_is_raised():
    with pytest.raises(ConfigError, match="broken"):
        play_all([FakeEnvironment(), FakeEnvironment(error=ConfigError("broken"))], SCRIPTS * 500)


def test_kills_fall_all_over_the_run(monkeypatch):
    monkeypatch.setattr(bench, "running", lambda kind: [])
    killer = Killer(episodes=100, kills=10)
    moments = list(killer._moments)
    for n in range(1, 101):
        killer.ended(n)
    killer.finish()
    assert len(moments) == len(set(moments)) == len(killer._timers) == 10
    assert not killer._moments
    assert not killer.killed
