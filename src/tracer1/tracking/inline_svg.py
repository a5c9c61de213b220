"""A matplotlib figure as a part of an HTML page. It knows nothing of what is drawn.

The page gives the colours (`PALETTE` is CSS for its style sheet), so that a plot follows its light or dark look; values are said under the
pointer by `<title>`, without a script. Nothing is loaded: text is text in the page's own font.
"""

import io
import math
import re
import warnings
from collections.abc import Iterable
from html import escape

from tracer1.tracking.plots import DPI, VARIABLES, Drawn, plot_settings

_DARK = ("#e6e9ee", "#39424d", "#7fb0ff", "#ff9b61", "#4fd39b", "#c9a2ff", "#e3bf4f", "#5cc8e0", "#ff8fb8", "#b3aca6")
_PROLOG = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_NAMES = re.compile(r' id="[a-zA-Z][\w.]*_\d+"')  # matplotlib's, the same in all figures; nothing points at them
_SIZE = re.compile(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>')
_EMPTY = re.compile(r"\s*\n\s*")


def _variables(colours: Iterable[tuple[str, str]]) -> str:
    """CSS of the series' colours; the first two, `--text` and `--line`, are every page's own."""
    return ":root { " + " ".join(f"{name}: {colour};" for name, colour in list(colours)[2:]) + " }"


# For a page's style sheet, behind its own colours
PALETTE = f"""{_variables((name, colour) for colour, name in VARIABLES.items())}
@media screen and (prefers-color-scheme: dark) {{ {_variables(zip(VARIABLES.values(), _DARK, strict=True))} }}
figure.plot {{ margin: 0; max-width: 100%; }}
figure.plot svg {{ display: block; width: 100%; height: auto; overflow: visible; }}
figure.plot svg text {{ font-family: inherit !important; }}
figure.plot .hits rect {{ fill: transparent; }}
figure.plot .hits rect:hover {{ fill: var(--text); fill-opacity: .1; }}
"""


def inline_svg(drawn: Drawn) -> str:
    """`<figure class="plot">` with the picture inside, as wide as its place in the page allows."""
    out = io.StringIO()
    with plot_settings(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no glyph for a character: the page's font may have one
        drawn.figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        areas = "".join(_area(drawn, hit) for hit in drawn.hits)
    svg = _METADATA.sub("", _PROLOG.sub("", out.getvalue()))
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = _EMPTY.sub("\n", _NAMES.sub("", svg))
    title = escape(drawn.title)
    svg = _SIZE.sub(lambda found: f'<svg viewBox="{found[1]}" role="img" aria-label="{title}">', svg, count=1)
    wide = drawn.figure.get_figwidth() * DPI
    hits = f'<g class="hits">{areas}</g></svg>'
    return f'<figure class="plot" style="width: {wide * 1.25:.0f}px">{svg.replace("</svg>", hits)}</figure>'


def _area(drawn: Drawn, hit: tuple[object, tuple[float, float, float, float], str]) -> str:
    """One invisible rectangle that says something; an infinite bound is the edge of the axes."""
    axes, (left, right, low, high), text = hit
    frame = axes.get_window_extent()
    (x1, y1), (x2, y2) = axes.transData.transform([(_or(left, 1), _or(low, 1)), (_or(right, 1), _or(high, 1))])
    x1, x2 = sorted((frame.x0 if math.isinf(left) else x1, frame.x1 if math.isinf(right) else x2))
    y1, y2 = sorted((frame.y0 if math.isinf(low) else y1, frame.y1 if math.isinf(high) else y2))
    if x2 - x1 < 4:  # the first and the last, and a lonely point
        x1, x2 = x1 - 2, x2 + 2
    top = drawn.figure.get_figheight() * DPI - y2
    place = f'x="{x1:.1f}" y="{top:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"'
    return f"<rect {place}><title>{escape(text)}</title></rect>"


def _or(value: float, other: float) -> float:
    return other if math.isinf(value) else value
