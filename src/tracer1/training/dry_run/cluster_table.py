"""All strategies on a cluster as one table, for the screen or for a document. It knows nothing of how the numbers were found."""

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracer1.training.dry_run.cluster import Estimate
from tracer1.training.dry_run.devices import GIB
from tracer1.training.duration import duration

COLUMNS = ("GiB/GPU", "GiB/node", "GB sent", "round", "moving", "rounds/h", "GPU-h", "cost")


def show_cluster(found: Mapping[str, Estimate | str], nodes: int, console: Console) -> None:
    """Writes the table, its assumptions, and why a strategy has no line."""
    known = [one for one in found.values() if isinstance(one, Estimate)]
    if not known:
        console.print("; ".join(f"{name}: {why}" for name, why in found.items()))
        return
    largest = max(known, key=lambda one: one.gpus)
    assumed = largest.load.assumed
    title = f"Strategies on {nodes} x {largest.gpus // nodes} {assumed.device.name}, estimated (* does not fit)"
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.show_edge = False
    for index, name in enumerate(("", *COLUMNS)):
        table.add_column(name, justify="right" if index else "left", style="" if index else "cyan", no_wrap=True)
    for one in known:
        table.add_row(*_cells(one, nodes), style="" if one.fits else "dim")
    console.print(table)
    console.print()
    for name, why in found.items():
        if not isinstance(why, Estimate):
            console.print(f"{name}: {why}")
    link = assumed.network * 8e-9
    said = f"{assumed.device.link / 1e9:,.0f} GB/s inside a machine, {link:,.0f} Gb/s a GPU between machines, "
    said += f"{assumed.link_share:.0%} of it reached, nothing hidden behind operations"
    console.print(Text.assemble(("Assumed, not measured: ", "bold"), said + ". docs/scaling.md says what is counted."))


def markdown(found: Mapping[str, Estimate | str], nodes: int) -> list[str]:
    """The table's lines, without a title."""
    columns = (
        COLUMNS if any(isinstance(one, Estimate) and one.cost is not None for one in found.values()) else COLUMNS[:-1]
    )
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for one in found.values():
        if isinstance(one, Estimate):
            lines.append("| " + " | ".join(_cells(one, nodes)[: len(columns) + 1]) + " |")
    return lines


def _cells(one: Estimate, nodes: int) -> list[str]:
    per_machine = one.gpus // nodes if one.gpus >= nodes else 1
    main = sum(item.size for item in one.memory.main) * per_machine
    return [
        one.strategy,
        f"{one.memory.peak / GIB:,.0f}" + ("" if one.fits else "*"),
        f"{main / GIB:,.0f}",
        f"{one.traffic.between / 1e9:,.0f}",
        duration(one.round),
        duration(one.exchanging) if one.exchanging >= 1 else f"{one.exchanging:.1f} s",
        f"{3600 / one.round:.3g}",
        f"{one.gpu_hours:,.0f}",
        "" if one.cost is None else f"{one.cost:,.0f}",
    ]
