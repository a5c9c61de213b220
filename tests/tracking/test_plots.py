"""Curves and intervals: the numbers behind them, and the picture as a part of a page."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from tracer1.tracking.inline_svg import PALETTE, inline_svg
from tracer1.tracking.over_seeds import spread, thinned
from tracer1.tracking.plots import VARIABLES, Curve, Interval, Labels, draw_curves, draw_intervals, write_plot

LABELS = Labels("a title", "round", "share, 0 to 1")


def svg_of(figure: str) -> ElementTree.Element:
    """The picture as a tree: a browser forgives more than this does."""
    text = figure[figure.index("<svg") : figure.rindex("</svg>") + 6]
    return ElementTree.fromstring(text.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))


def titles(figure: str) -> list[str]:
    return [node.text for node in svg_of(figure).iter() if node.tag.endswith("title")]


def test_the_mean_stands_where_all_seeds_have_a_value():
    over = spread([[(1, 0.1), (2, 0.2), (3, math.nan)], [(1, 0.3), (2, 0.4), (3, 0.5), (4, 0.6)]])
    assert over.x.tolist() == [1, 2]
    assert over.mean == pytest.approx([0.2, 0.3])
    assert over.sd == pytest.approx([0.1414, 0.1414], abs=1e-4)
    assert over.count == 2


def test_one_seed_has_no_spread_and_none_has_no_mean():
    assert all(map(math.isnan, spread([[(1, 0.5)]]).sd))
    assert spread([]).x.tolist() == spread([[]]).x.tolist() == []


def test_long_curves_become_means_of_the_same_stretches_for_all_seeds():
    seeds = [[(x, float(x)) for x in range(1000)], [(x, 1.0) for x in range(0, 600)]]
    thin, width = thinned(seeds, most=100)
    assert width == 10
    assert thin[0][0] == (4.5, 4.5)
    assert len(thin[0]) == 100
    assert [x for x, _ in thin[1]] == [x for x, _ in thin[0][:60]]
    assert thinned(seeds[:1], most=1000) == ([seeds[0]], 1)


def test_the_pointer_reads_every_curve_at_a_point():
    curves = [
        Curve("one", [[(1, 0.1), (2, 0.2)], [(1, 0.3), (2, 0.4)]]),
        Curve("two", [[(1, 0.7), (4, 0.9), (5, math.inf)]]),
    ]
    assert titles(inline_svg(draw_curves(curves, LABELS))) == [
        "round 1\none: mean 0.2 of 0.1, 0.3\ntwo: 0.7",
        "round 2\none: mean 0.3 of 0.2, 0.4\ntwo (at 1): 0.7",
        "round 4\ntwo: 0.9",
        "round 5\ntwo: –",
    ]


def test_no_place_under_the_pointer_hides_another():
    curves = draw_curves(
        [Curve("a", [[(x, 0.1) for x in range(9)]]), Curve("b", [[(x, 0.2) for x in range(0, 99, 7)]])], LABELS
    )
    boxes = [box for _, box, _ in curves.hits]
    assert all(one[1] <= other[0] for one, other in pairwise(boxes))
    rows = [Interval(name, 0.5, series=series) for name in "ab" for series in "uvw"]
    boxes = sorted(box[2:] for _, box, _ in draw_intervals(rows, LABELS).hits)
    assert all(one[1] <= other[0] + 1e-9 for one, other in pairwise(boxes))


def test_a_plot_follows_the_colours_of_its_page():
    figure = inline_svg(draw_curves([Curve(str(k), [[(1, k), (2, k)]]) for k in range(12)], LABELS))
    for variable in VARIABLES.values():
        assert f"var({variable})" in figure
    assert not set(re.findall(r"#[0-9a-f]{6}", figure)) - {"#ffffff", "#000000"}
    assert PALETTE.count("--c7:") == 2  # light and dark
    assert "prefers-color-scheme: dark" in PALETTE


def test_two_plots_on_a_page_do_not_share_names_and_nothing_is_loaded():
    figure = inline_svg(draw_curves([Curve("a", [[(1, 1)]])], LABELS))
    names = [node.get("id") for node in svg_of(figure).iter() if node.get("id")]
    assert not [name for name in names if name.endswith("_1")]
    assert "<?xml" not in figure
    assert "<metadata" not in figure
    assert not re.search(r'href="(?!#)', figure)


def test_labels_are_text_whatever_they_hold():
    evil = "</svg><script>alert(1)</script> $\\frac{1}{ $ \x00 日本 🙂\nx" + "y" * 500
    drawn = draw_curves([Curve(evil, [[(1, 0.5)]]), Curve("b", [[(1, 0.6)]])], Labels(evil, evil, evil))
    for figure in (
        inline_svg(drawn),
        inline_svg(draw_intervals([Interval(evil, 0.5, series=evil)], Labels(evil, evil))),
    ):
        assert "<script" not in figure
        assert figure.count("</svg>") == 1
        assert not any(node.tag.endswith("script") for node in svg_of(figure).iter())


def test_intervals_say_whose_they_are_and_none_is_no_number():
    rows = [
        Interval("ours", 0.5, 0.4, 0.6, series="ours"),
        Interval("theirs", 0.7, series="published", published=True),
        Interval("none", None, series="ours"),
        Interval("half", 0.2, None, math.nan, series="ours"),
    ]
    said = titles(inline_svg(draw_intervals(rows, Labels("t", "percent", percent=True))))
    assert "ours, ours\n50.0 % (40.0 % to 60.0 %)" in said
    assert "theirs, published\n70.0 %" in said
    assert "none, ours\n–" in said
    assert "half, ours\n20.0 %" in said


@pytest.mark.parametrize("others", [[], [Curve("two", [])]])
def test_a_curve_is_named_even_where_it_is_alone(others):
    figure = inline_svg(draw_curves([Curve("one", [[(1, 0.1), (2, 0.2)]]), *others], LABELS))
    texts = [node.text for node in svg_of(figure).iter() if node.tag.endswith("text")]
    assert "one" in texts
    assert "two" not in texts


def test_many_or_long_labels_stand_below_the_plot_which_grows():
    few = draw_curves([Curve("a", [[(1, 0.1)]])], LABELS).figure.get_figheight()
    long = draw_curves([Curve("a" * 40, [[(1, 0.1)]]), Curve("b", [[(1, 0.1)]])], LABELS)
    assert long.figure.get_figheight() > few
    assert long.figure.legends


def test_no_data_is_an_empty_plot(tmp_path):
    assert "<svg" in inline_svg(draw_curves([Curve("a", []), Curve("b", [[]])], LABELS))
    assert "<svg" in inline_svg(draw_intervals([], LABELS))


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_plot_is_written_to_a_file_the_same_way_every_time(tmp_path, ending):
    def write(name: str) -> bytes:
        curves = [Curve("a", [[(1, 0.1), (10, 0.2), (100, 0.4)]], marked=True)]
        drawn = draw_curves(curves, Labels("t", "T, steps", "success", log_x=True, percent=True, limits=(0, 1)))
        return write_plot(drawn, tmp_path / "new" / f"{name}.{ending}").read_bytes()

    first = write("one")
    assert first == write("two")
    assert first.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
