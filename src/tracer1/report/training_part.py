"""The trainings on the page: what was run, what follows from what, the curves. It knows nothing of files."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from tracer1.report.groups import ARROW, Group, chain, parameters
from tracer1.report.markup import Html, badge, bullets, details, table, text
from tracer1.report.trainings import Training
from tracer1.tracking.inline_svg import inline_svg
from tracer1.tracking.metric_names import METRICS
from tracer1.tracking.plots import Curve, Drawn, Labels, draw_curves
from tracer1.training.duration import duration

# Config -> what the table calls it, in this order; everything else stands below each run
SETTINGS = {
    "recipe": "recipe", "rounds": "rounds", "data.horizon": "horizon T, steps", "data.history": "history K, steps",
    "algorithm.group_size": "rollouts of a prompt (n)", "algorithm.prompts_per_round": "prompts of a round",
    "algorithm.prompts_per_update": "prompts of an update", "algorithm.advantages": "advantages",
    "algorithm.surrogate": "surrogate", "algorithm.clip_low": "clip, low", "algorithm.clip_high": "clip, high",
    "algorithm.kl_coef": "KL coefficient", "algorithm.sampling.temperature": "temperature", "optimizer.lr": "learning rate",
    "optimizer.weight_decay": "weight decay", "executor.name": "executor", "engine.name": "engine", "model.dtype": "precision",
    "trainer.devices": "devices",
}  # fmt: skip
CHOICES = ("experiment", "data", "model", "reward", "algorithm", "environment")
SECTIONS = {
    "On held-out steps": ("val/",),
    "Reward": ("reward/", "reward_by_tool/"),
    "Supervised loss": ("sft/",),
    "Episodes": ("episode/",),
    "Rollouts and executor": ("rollout/", "executor/"),
    "Policy": ("policy/",),
    "Optimizer and data": ("optim/", "data/"),
    "Time": ("time/",),
    "Machine": ("system/",),
}
OPEN = ("On held-out steps", "Reward", "Supervised loss", "Episodes")
UNITS = {
    "rollout/response_length": "tokens", "rollout/tokens_per_s": "tokens per second", "rollout/logprob_error": "nats",
    "rollout/dropped_groups": "groups", "policy/kl": "nats per token",
    "policy/entropy": "nats per token", "policy/loss": "loss", "sft/loss": "nats per token", "sft/place_loss": "nats per token",
    "optim/lr": "learning rate", "optim/grad_norm": "norm", "optim/skipped": "updates", "data/epoch": "passes",
    "data/dropped_prompts": "prompts", "episode/score": "mean score", "episode/steps": "steps",
    "episode/lost": "turns", "system/rss_gb": "GB", "system/disk_free_gb": "GB", "system/gpu_memory_gb": "GB",
}  # fmt: skip
MOST_CURVES = 16  # in a plot


def what_was_run(groups: Sequence[Group], names: Mapping[Training, str]) -> Html:
    """The chain, a row for each training, the settings that matter, and all of them to unfold."""
    every = [training for group in groups for training in group.trainings]
    rows = [_row(training, names[training], every) for training in every]
    heads = ("run", "seed", "starts from", "rounds", "updates", "ran for", "began", "state", "commit")
    unfold = "".join(_all_settings(training, names[training]) for training in every)
    return Html(
        f"{_chains(groups)}{table(heads, rows, numbers=False, kind='runs')}<h3>Settings</h3>{_settings(groups)}"
        f"{details('All settings of each run', unfold)}"
    )


def _chains(groups: Sequence[Group]) -> Html:
    """Which follows from which; one that is part of a longer one is not said twice."""
    every = [training for group in groups for training in group.trainings]
    found = dict.fromkeys(tuple(chain(training, every)) for training in every)
    whole = [one for one in found if not any(other[: len(one)] == one and other != one for other in found)]
    lines = "".join(f"<li>{ARROW.join(f'<b>{text(name)}</b>' for name in one)}</li>" for one in whole)
    return Html(f'<ul class="chain">{lines}</ul>')


def _row(training: Training, name: str, every: Sequence[Training]) -> tuple[str, ...]:
    before = chain(training, every)[:-1]
    done, due = training.rounds_done, training.config.get("rounds", "")
    rounds = (
        ""
        if done is None
        else f"{done} of {due}"
        if training.config.get("recipe") != "warmstart" and due
        else f"{done}"
    )
    commit = training.origin.get("mlflow.source.git.commit", "")[:10] or "not recorded"
    dirty = " + changes" if training.origin.get("git.dirty") == "true" else ""
    began = "" if training.began is None else _date(training.began)
    again = f", resumed {training.resumed} ×" if training.resumed else ""
    updates = "" if training.updates_done is None else f"{training.updates_done:,}"
    start = before[-1] if before else "not recorded"
    return (
        name,
        training.seed,
        start,
        rounds,
        updates,
        duration(training.seconds) + again,
        began,
        _state(training),
        commit + dirty,
    )


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return ""


def _state(training: Training) -> Html:
    if training.finished:
        return badge("finished", "good")
    return badge("not finished" if training.series else "no figures", "bad")


def _settings(groups: Sequence[Group]) -> Html:
    chosen = {c: [group.trainings[0].choices.get(c, "") for group in groups] for c in CHOICES}
    rows = {c: values for c, values in chosen.items() if any(values)} | parameters(groups, SETTINGS)
    rows = {said: ["none" if value == "None" else value for value in values] for said, values in rows.items()}
    seeds = [", ".join(group.seeds) for group in groups]
    return table(
        ("", *(group.label for group in groups)),
        [(said, *v) for said, v in ({"seeds": seeds} | rows).items()],
        numbers=False,
    )


def _all_settings(training: Training, name: str) -> Html:
    said = f"<p>Said on the command line: <code>{text(' '.join(training.overrides) or 'nothing')}</code></p>"
    versions = [(key, value) for key, value in training.origin.items()]
    return details(name, f"{said}{table((), [*training.config.items(), *versions], numbers=False, kind='small')}")


def curves(groups: Sequence[Group]) -> Html:
    """A plot for every figure, those that matter most first; the others to unfold."""
    names = list(dict.fromkeys(name for group in groups for training in group.trainings for name in training.series))
    parts = []
    for section, prefixes in SECTIONS.items():
        chosen = sorted(name for name in names if name.startswith(prefixes))
        plots = "".join(_plot(name, groups) for name in chosen)
        if plots:
            parts.append(details(f"{section} ({len(chosen)})", f'<div class="plots">{plots}</div>', section in OPEN))
    rest = [name for name in names if not name.startswith(tuple(p for prefixes in SECTIONS.values() for p in prefixes))]
    if rest:
        plots = "".join(_plot(name, groups) for name in sorted(rest))
        parts.append(details(f"Others ({len(rest)})", f'<div class="plots">{plots}</div>'))
    said = f"Only the first {MOST_CURVES} of {len(groups)} experiments are drawn." if len(groups) > MOST_CURVES else ""
    return Html("".join(parts) + bullets([said] if said else []))


def _plot(name: str, groups: Sequence[Group]) -> str:
    drawn = curve_plot(name, groups)
    if drawn is None:
        return ""
    explained = METRICS.get(name)
    return f"<div>{inline_svg(drawn)}{f'<p class=quiet>{text(explained)}</p>' if explained else ''}</div>"


def curve_plot(name: str, groups: Sequence[Group]) -> Drawn | None:
    """One figure of all groups along rounds, or along updates where it is logged more often; None where nobody has it."""
    by_round = not any(_finer_by_update(training, name) for group in groups for training in group.trainings)
    drawn = [
        Curve(
            group.label,
            [points for t in group.trainings if (points := t.points(name, by_round))],
            marked=name.startswith("val/"),
        )
        for group in groups[:MOST_CURVES]
    ]
    if not any(curve.seeds for curve in drawn):
        return None
    return draw_curves(drawn, Labels(name, "round" if by_round else "optimizer update", unit(name)), (5.2, 2.9))


def _finer_by_update(training: Training, name: str) -> bool:
    """Logged more often than once a round, or without a round."""
    series = training.series.get(name)
    if series is None:
        return False
    rounds = {round_ for round_ in series.rounds if not math.isnan(round_)}
    return len(set(series.steps)) > 1.5 * len(rounds)


def unit(name: str) -> str:
    """What the vertical axis of a figure counts."""
    if name.startswith("time/"):
        return "seconds"
    if name.endswith(("_percent", "infra_errors")):
        return "percent" if name.endswith("_percent") else "rollouts"
    known = {"reward/": "mean reward", "reward_by_tool/": "mean reward", "val/": "mean, 0 to 1"}
    return UNITS.get(name) or next((said for start, said in known.items() if name.startswith(start)), "share, 0 to 1")
