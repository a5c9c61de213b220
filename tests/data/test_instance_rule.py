"""The paper's training-instance rule on steps as a converter makes them: each step with its subsequent actions, at most T.

That prompts over the token limit are dropped and counted is tested with the encoder and with the round.
"""

from toy_steps import picture
from toy_streams import module

from tracer1.data.drafts import Draft, Unusable, finish
from tracer1.data.shards import write_shards
from tracer1.interfaces import Task
from tracer1.schema import Action, Step

LENGTHS = {"a": 1, "b": 3, "c": 7, "d": 12}
T, K = 4, 2


def drafts(length: int, cut: bool = False):
    for t in range(length):
        action = (
            Action("click", f"click {t}", point=(10.0 * t, 5.0)) if t % 2 else Action("type", f"type {t}", content="x")
        )
        yield Draft(action, picture(t))
    if cut:
        raise Unusable("screenshot missing")


def converted(folder) -> list[str]:
    done = [finish(Task("toy", name, f"do {name}", "web"), drafts(length)) for name, length in LENGTHS.items()]
    done.append(finish(Task("toy", "cut", "do cut", "web"), drafts(5, cut=True)))
    return [
        str(p) for p in write_shards((d.steps for d in done), folder, split="train", prefix="toy", max_shard_mb=0.02)
    ]


def test_each_step_comes_once_with_its_subsequent_actions(tmp_path):
    stream = module(converted(tmp_path), horizon=T, history=K).train_stream()
    steps: dict[str, Step] = {}
    for step in stream:
        if stream.epoch == 1:
            break
        assert step.key not in steps
        steps[step.key] = step
    assert len(steps) == sum(LENGTHS.values()) + 5
    for name, length in {**LENGTHS, "cut": 5}.items():
        for t in range(length):
            step = steps[f"toy-{name}-{t:03d}"]
            numbers = [plan_step.number for plan_step in step.future]
            assert numbers == list(range(t + 1, min(t + T, length) + 1))  # a_t ... a_min(t+T-1, L), counted from 1
            assert [past.number for past in step.history] == list(range(max(1, t - K + 1), t + 1))
            words = [plan_step.action.step_instruction.split()[1] for plan_step in step.future]
            assert words == [str(number - 1) for number in numbers]  # the expert's own, from this step on
            statuses = [plan_step.status for plan_step in step.future]
            whole = numbers[-1] == length and name != "cut"
            assert statuses == ["not done"] * (len(numbers) - 1) + ["done" if whole else "not done"]
            assert step.screenshot == picture(t)  # what was seen before the action
