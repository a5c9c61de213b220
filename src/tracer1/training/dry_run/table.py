"""A dry run on one screen of 100 columns: units, tokens, memory, operations, hours, settings without effect.

It knows how numbers are shown, and nothing of how they were found.
"""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracer1.models.costs import count_parameters
from tracer1.training.dry_run.devices import GIB
from tracer1.training.dry_run.memory import Memory, trained_parameters
from tracer1.training.dry_run.work import Hours, Pass
from tracer1.training.dry_run.workload import Workload
from tracer1.training.duration import duration

WIDTH = 100
_SCALES = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"))


def show(
    run_name: str,
    load: Workload,
    memory: Memory,
    work: tuple[list[Pass], Hours],
    remarks: Sequence[str],
    console: Console,
) -> None:
    """Writes the screen.

    Args:
        run_name: Of the run that was not made.
        load: Its numbers.
        memory: Of one device.
        work: Operations of a round, and the time they take.
        remarks: What to change, and settings without effect.
        console: Where to write.
    """
    passes, hours = work
    total, trained = count_parameters(load.shape).total, trained_parameters(load)
    title = f"{run_name}: dry run of {load.shape.name} ({_count(total)} parameters, {_count(trained)} trained)"
    console.print(Text(title, style="bold"), soft_wrap=True)
    halves = Table.grid(padding=(0, 4))
    halves.add_row(_units(load), _tokens(load))
    for part in (halves, _memory(load, memory), _work(load, passes)):
        console.print(part)
        console.print()
    _time(load, hours, console)
    for sentence in remarks:
        console.print(Text.assemble(("! ", "bold yellow"), sentence), width=WIDTH)


def _table(title: str, *columns: str) -> Table:
    """A label, then figures; the last column is for remarks when it is called so."""
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.show_edge = False
    table.show_header = any(columns)
    for index, name in enumerate(("", *columns)):
        remark = name == " "
        table.add_column(
            name,
            justify="left" if index == 0 or remark else "right",
            style="cyan" if index == 0 else "dim" if remark else "",
            no_wrap=not remark,
        )
    return table


def _units(load: Workload) -> Table:
    units = load.units
    table = _table("Units", "a round", "an update", "the run")
    table.add_row(
        "prompts", *_row(units.prompts_per_round, units.prompts_per_update, units.rounds * units.prompts_per_round)
    )
    if load.grpo:
        per_update = units.prompts_per_update * units.group_size
        table.add_row("rollouts", *_row(units.prompts_per_round * units.group_size, per_update, units.rollouts))
    table.add_row("updates", *_row(units.updates_per_round, 1, units.updates))
    own = units.micro_batches_per_update
    table.add_row("micro-batches/process", *_row(own * units.updates_per_round, own, own * units.updates))
    table.add_row("rounds", "1", "", f"{units.rounds:,}")
    table.add_row("processes", "", "", f"{units.ranks:,}")
    return table


def _tokens(load: Workload) -> Table:
    table = _table("Tokens", "typical", "at most")
    groups = (load.typical, load.worst)
    table.add_row("picture", *_row(*(group.image for group in groups)))
    table.add_row("prompt", *_row(*(group.prompt for group in groups)))
    table.add_row("response", *_row(*(group.response for group in groups)))
    per_batch = load.units.groups_per_micro_batch
    for name, shared in (("micro-batch, shared", True), ("micro-batch, repeated", False)):
        mark = "*" if shared == load.shared and load.units.group_size > 1 else ""
        if load.units.group_size > 1 or shared:
            name = name if load.units.group_size > 1 else "micro-batch"
            table.add_row(name + mark, *_row(*(per_batch * group.tokens(shared) for group in groups)))
    return table


def _memory(load: Workload, memory: Memory) -> Table:
    table = _table("Memory of one device at the largest micro-batch, estimated", "GiB", " ")
    for item in memory.items:
        when = "" if item.when == "always" else f"{item.when}: "
        table.add_row(item.name, _gib(item.size), when + item.note)
    table.add_section()
    device, tight = load.assumed.device, memory.peak > load.assumed.device.memory
    style = "bold red" if tight else "bold"
    remark = f"updating {_gib(memory.at('updating'))}, sampling {_gib(memory.at('sampling'))}; "
    remark += f"{'too much for' if tight else 'of'} the {_gib(device.memory)} of an {device.name} (assumed)"
    table.add_row(Text("peak", style=style), Text(_gib(memory.peak), style=style), remark)
    main = ", ".join(f"{item.name} {_gib(item.size)}" for item in memory.main)
    table.add_row("main memory/process", _gib(sum(item.size for item in memory.main)), f"{main}; of a typical round")
    return table


def _work(load: Workload, passes: Sequence[Pass]) -> Table:
    lines = list(passes)
    if len(passes) > 1:
        training = [one for one in passes if one.name != "sampling"]
        for name, some in (("training passes", training), ("all", passes)):
            lines.append(Pass(name, sum(one.shared for one in some), sum(one.repeated for one in some)))
    scale, unit = next((s, u) for s, u in _SCALES if lines[-1].repeated >= 10 * s or s == 1e9)
    mark = ("prompts shared*", "repeated") if load.shared else ("prompts shared", "repeated*")
    table = _table(f"Operations of a round of typical groups, {unit} (* this run)", *mark, "ratio", " ")
    for index, one in enumerate(lines):
        if index == len(passes):
            table.add_section()
        ratio = f"{one.repeated / one.shared:.2f}" if one.shared else ""
        table.add_row(one.name, _figure(one.shared / scale), _figure(one.repeated / scale), ratio, one.note)
    return table


def _time(load: Workload, hours: Hours, console: Console) -> None:
    """What was not measured is said to be assumed."""
    assumed = load.assumed
    width, height = assumed.screenshot
    run = _span(hours.total * load.units.rounds)
    parts = f"{_span(hours.sampling)} sampling + {_span(hours.passes)} passes" if load.grpo else "updates alone"
    lines = [
        ("Time, at best: ", f"{run} for {load.units.rounds:,} rounds of {_span(hours.total)} ({parts})."),
        (
            "Assumed, not measured: ",
            f"{load.units.ranks} x {assumed.device.name}, {assumed.mfu:.0%} of its operations in passes, "
            f"{assumed.bandwidth:.0%} of its bandwidth in decoding; {width} x {height} screenshots, "
            f"{assumed.text_tokens:,} tokens of text, {assumed.response_tokens:,} of response. Set assume.* to change it.",
        ),
    ]
    for label, text in lines:
        console.print(Text.assemble((label, "bold"), text), width=WIDTH)


def _row(*numbers: int) -> list[str]:
    return [f"{number:,}" for number in numbers]


def _span(seconds: float) -> str:
    return duration(seconds) if seconds >= 10 else f"{seconds:.2g} s"


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _gib(size: float) -> str:
    gib = size / GIB
    return f"{gib:,.1f}" if gib >= 0.95 or size == 0 else f"{gib:.3f}"


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.2f} B" if parameters >= 1e9 else f"{parameters / 1e6:.2f} M"
