"""The benchmark's commands: which cases, which sides, how often, and what comes of it as plain figures.

It knows nothing of tables and plots (`report.py`, `plots.py`).
"""

import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from tracer1.errors import ConfigError, MissingDependency
from tracer1.training.bench.cases import Case, save_backbone
from tracer1.training.bench.children import Side, alternate, check_same
from tracer1.training.bench.memory import Logits

Figures = dict[str, Any]
_HERE = "tracer1.training.bench"
TRL = "TRL"
# TRL makes no pass for old log-probs when there is one update per step; nor do we in the first of these
OURS = {"tracer1": "first_update_on_policy", "tracer1, old pass kept": "recompute"}
PREFIX = Case((1920, 1088), 1000, 1, prompt_tokens=3000)  # 2,040 image tokens
QUICK_PREFIX = Case((64, 64), 8, 1, prompt_tokens=40)
RESPONSES = (250, 500, 1000, 2000, 4000)
IMAGES = ((320, 224), (640, 480), (1024, 768), (1920, 1088), (2560, 1440))
TEXT_TOKENS = 960  # of a prompt beside its picture


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    device: str = "cpu"
    shape: str = "tiny"
    repetitions: int = 5
    threads: int = 2
    quick: bool = False  # the smallest that still goes through everything
    overrides: tuple[str, ...] = ()  # of our training's config
    together: bool = True  # sides in turns; False: one after the other, where memory holds only one
    checkpointing: bool = False
    engine: str = "transformers"  # what samples in whole steps, on both sides
    say: Callable[[str], None] = lambda line: None

    def case(self, case: Case) -> Case:
        """The case on the wanted device."""
        return replace(case, device=self.device, shape=self.shape, threads=self.threads)

    @property
    def times(self) -> int:
        return 1 if self.quick else self.repetitions


def trl_cases(options: Options) -> list[Case]:
    """What is compared with TRL: the issue's two sizes, or a screenshot of full size for the real shapes."""
    if options.quick:
        cases = [Case((64, 64), 8, 2)]
    elif options.shape == "tiny":
        cases = [Case((1024, 768), 128, 2), Case((320, 224), 128, 4)]
    else:
        cases = [Case((1920, 1088), 1000, 2)]
    return [replace(options.case(case), engine=options.engine) for case in cases]


def run_trl(options: Options, with_trl: bool = True) -> list[Figures]:
    """Whole steps of tracer1 and of TRL, in turns.

    Raises:
        BenchFailed: the sides did not do the same work, or one of them failed.
    """
    results = []
    for case in trl_cases(options):
        options.say(f"{case}:")
        with tempfile.TemporaryDirectory() as folder:
            path = save_backbone(case, Path(folder) / "policy")
            results.append(_compare(case, path, options, with_trl))
    return results


def _compare(case: Case, path: Path, options: Options, with_trl: bool) -> Figures:
    screens = case.prompts * (options.times + 1)  # every step has pictures of its own
    extra = list(options.overrides)
    if options.checkpointing:
        extra.append("model.gradient_checkpointing=true")
    sides = []
    for name, way in OURS.items():
        if way == "recompute" and options.quick:
            continue
        sides.append(_side(name, "ours:run", case, (case, path, screens, [f"algorithm.old_logprobs={way}", *extra])))
    if with_trl:
        sides.append(_side(TRL, "theirs:run", case, (case, path, screens, options.checkpointing)))
    measured = dict(alternate(sides, options.times, options.say, together=options.together))
    check_same(sides, ("prompts", "weights"))
    for name, summary in measured.items():
        lengths = {step["figures"]["rollout/response_length"] for step in summary["steps"]}
        assert lengths == {float(case.response_tokens)}, f"{name} made responses of {lengths} tokens"
        if with_trl and name != TRL:
            compare(summary, measured[TRL])
    return {"case": _plain(case), "sides": measured}


def compare(ours: Figures, theirs: Figures) -> None:
    """Notes in ours how many times as fast it is, and what share of the memory it needs."""
    ours["times_as_fast"] = theirs["median_s"] / ours["median_s"]
    ours["memory_share"] = ours["peak_mib"] / theirs["peak_mib"]


def run_dense(options: Options) -> Figures:
    """Our shared prefix beside our dense path: counted for the 8B's shape (and the case's), measured for the case's."""
    from tracer1.training.bench.flops import count_both

    case = options.case(QUICK_PREFIX if options.quick else PREFIX)
    options.say(f"shared prefix, {case.prompt_tokens} prompt tokens, {case}:")
    sides = [_side(name, "passes:run", case, (case, name, options.checkpointing)) for name in ("shared", "dense")]
    measured = dict(alternate(sides, options.times, options.say, together=options.together))
    counted = {}
    for shape in dict.fromkeys([case.shape, *([] if options.quick else ["8b"])]):
        counted[shape] = count_both(replace(case, shape=shape, device="cpu"))
        options.say(f"  counted for {shape}: {counted[shape]['ratio']:.2f}")
    compare(measured["shared"], measured["dense"])
    return {"case": _plain(case), "counted": counted, "sides": measured}


def run_curves(options: Options) -> Figures:
    """Counted operations, dense over shared, along the response's length and along the picture's size."""
    shape, base = ("tiny", QUICK_PREFIX) if options.quick else ("8b", PREFIX)
    lengths, images = ((4, 8), IMAGES[:1]) if options.quick else (RESPONSES, IMAGES)
    along_length = {str(length): replace(base, response_tokens=length, shape=shape) for length in lengths}
    along_size = {}
    for width, height in images:
        case = replace(base, image=(width, height), shape=shape)
        along_size[f"{width}x{height}"] = replace(case, prompt_tokens=case.image_tokens + TEXT_TOKENS)
    counted = _count_all([*along_length.values(), *along_size.values()], options)
    sizes = {name: {**counted[case], "image_tokens": case.image_tokens} for name, case in along_size.items()}
    return {"shape": shape, "responses": {n: counted[case] for n, case in along_length.items()}, "images": sizes}


def _count_all(cases: list[Case], options: Options) -> dict[Case, Figures]:
    """Counts side by side: how long that takes is no figure of ours."""
    from tracer1.training.bench.flops import count_both

    cases = list(dict.fromkeys(cases))
    counted = {}
    with ExitStack() as stack:
        count = map
        if not options.quick:
            count = stack.enter_context(ProcessPoolExecutor(options.threads, get_context("spawn"))).map
        for case, counts in zip(cases, count(count_both, cases), strict=True):
            counted[case] = counts
            options.say(f"  {case}, {case.prompt_tokens} prompt tokens: {counts['ratio']:.2f}")
    return counted


def run_logits(options: Options) -> Figures:
    """Memory of the log-probs in blocks and with full logits, as vocabulary and length grow."""
    sizes = [(256, 1024)] if options.quick else [(t, v) for v in (32_768, 151_936) for t in (512, 2048, 8192)]
    settings = [Logits(t, v, blocks) for t, v in sizes for blocks in (True, False) if blocks or t * v < 4e8]
    side = _side("logits", "memory:run", options.case(PREFIX), (settings, options.device))
    rows = []
    try:
        side.start()
        side.wait()
        for setting in settings:
            held = side.ready if not rows else side.steps[-1]
            peak = side.step()["peak_mib"]
            rows.append({**_plain(setting), "full_mib": setting.full_mib, "extra_mib": peak - held["held_mib"]})
            options.say(f"  {setting.tokens} x {setting.vocabulary}: {rows[-1]['extra_mib']:.0f} MiB")
    finally:
        side.stop()
    return {"rows": rows}


def has(package: str) -> bool:
    """Whether it is installed: TRL comes with the extra [bench], vLLM with [vllm]."""
    return importlib.util.find_spec(package) is not None


def run(command: str, options: Options) -> Mapping[str, Any]:
    """What `tools/bench_grpo.py COMMAND` measures; `all` is every command, TRL where it is installed.

    Raises:
        ConfigError: no such device.
        MissingDependency: TRL or vLLM is asked for and not installed.
        BenchFailed: a side failed.
    """
    commands: dict[str, Callable[[], Any]] = {
        "trl": lambda: run_trl(options, has("trl") and not (command == "all" and options.quick)),
        "dense": lambda: run_dense(options),
        "logits": lambda: run_logits(options),
        "curves": lambda: run_curves(options),
    }
    if options.device != "cpu" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch sees no GPU here. Leave it out, or run this on a machine that has one.")
    _check_installed(command, options)
    chosen = list(commands) if command == "all" else [command]
    return {name: commands[name]() for name in chosen}


def _check_installed(command: str, options: Options) -> None:
    if command in ("trl", "all") and options.engine == "vllm" and not has("vllm"):
        raise MissingDependency(
            "--engine vllm: vLLM is not installed here. docs/performance.md says how to make an environment that has vLLM and TRL."
        )
    if command == "trl" and not has("trl"):
        raise MissingDependency("TRL is not installed: pip install -c constraints.txt -e '.[bench]'")


def _side(name: str, run: str, case: Case, arguments: tuple[Any, ...]) -> Side:
    return Side(name, f"{_HERE}.{run}", arguments, case.device, case.threads)


def _plain(case: Case | Logits) -> Figures:
    return {name: getattr(case, name) for name in case.__dataclass_fields__}
