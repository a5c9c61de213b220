"""The curves of the benchmark as a picture. It computes nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def plot_curves(curves: Mapping[str, Any], path: Path) -> Path:
    """Dense over shared along the response's length and along the picture's size.

    Args:
        curves: What `runs.run_curves` gave.
        path: Of the PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    lengths = {int(length): counts for length, counts in curves["responses"].items()}
    sizes = {counts["image_tokens"]: counts for counts in curves["images"].values()}
    _draw(left, lengths, "response tokens (prompt 3,000)")
    _draw(right, sizes, "image tokens (+ 960 of text; 1,000 response tokens)")
    left.set_ylabel("dense ÷ shared, counted operations")
    left.set_ylim(bottom=1)
    left.legend(frameon=False)
    figure.suptitle(f"Old + reference + update, {curves['shape'].upper()} shape, n = 5")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    return path


def _draw(axes: Any, points: Mapping[int, Mapping[str, Any]], label: str) -> None:
    x = list(points)
    for name, style, text in (("ratio", "o-", "causal attention as half"), ("ratio_whole", "s--", "as whole")):
        axes.plot(x, [points[at][name] for at in x], style, label=text, markersize=4)
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{at:,}" for at in x], rotation=30)
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.grid(alpha=0.3)
