import pytest
from desks import Bench
from PIL import Image, ImageChops

from tracer1.toolbox.inside import images

TOOLS = [
    "crop_image", "resize_image", "rotate_image", "draw_box", "add_text", "side_by_side", "paste_image", "convert_image", "image_info",
]  # fmt: skip


@pytest.fixture
def bench(tmp_path) -> Bench:
    image = Image.new("RGB", (300, 200), "white")
    image.paste("blue", (100, 50, 200, 150))
    image.save(tmp_path / "a.png")
    return Bench(tmp_path, TOOLS)


def changed(bench: Bench, name: str) -> tuple[int, int, int, int] | None:
    """The box of what differs from a.png."""
    return ImageChops.difference(bench.image("a.png"), bench.image(name)).getbbox()


def test_crop(bench):
    assert bench.value("crop_image", image_path="a.png", box=[100, 50, 200, 150]) == "crop_1.png"
    assert bench.image("crop_1.png").getcolors() == [(10_000, (0, 0, 255))]


def test_crop_is_cut_off_at_the_edges_and_takes_corners_in_any_order(bench):
    bench.value("crop_image", image_path="a.png", box=[500, 300, 290, -20])
    assert bench.image("crop_1.png").size == (10, 200)


@pytest.mark.parametrize("box", [[300, 0, 400, 100], [10, 10, 10, 20], [0, -50, 300, 0], [1e300, 0, 2e300, 9]])
def test_a_box_that_covers_nothing_is_a_bad_argument(bench, box):
    kind, message = bench.refusal("crop_image", image_path="a.png", box=box)
    assert (kind, "300 x 200" in message) == ("bad_arguments", True)
    assert not (bench.folder / "crop_1.png").exists()


@pytest.mark.parametrize(
    ("sides", "size"),
    [({"width": 150}, (150, 100)), ({"height": 400}, (600, 400)), ({"width": 9, "height": 7}, (9, 7))],
)
def test_resize(bench, sides, size):
    assert bench.image(bench.value("resize_image", image_path="a.png", **sides)).size == size


@pytest.mark.parametrize(
    ("sides", "kind"),
    [({}, "bad_arguments"), ({"width": 0}, "refused"), ({"width": 10**6}, "refused"), ({"height": -5}, "refused")],
)
def test_a_size_that_cannot_be_is_refused(bench, sides, kind):
    assert bench.refusal("resize_image", image_path="a.png", **sides)[0] == kind


def test_rotate_turns_counterclockwise_and_keeps_all_corners(bench):
    image = Image.new("RGB", (30, 10), "white")
    image.putpixel((29, 0), (255, 0, 0))  # upper right
    image.save(bench.folder / "b.png")
    turned = bench.image(bench.value("rotate_image", image_path="b.png", degrees=90))
    assert turned.size == (10, 30)
    assert turned.getpixel((0, 0)) == (255, 0, 0)  # upper left
    assert bench.image(bench.value("rotate_image", image_path="b.png", degrees=45)).size > (10, 30)


def test_draw_box_fills_with_a_quarter_of_red_and_outlines(bench):
    name = bench.value("draw_box", image_path="a.png", box=[20, 60, 80, 120])
    image = bench.image(name)
    assert image.getpixel((50, 90)) == (255, 191, 191)
    assert image.getpixel((20, 90)) == (255, 0, 0)
    assert changed(bench, name) == (20, 60, 81, 121)


def test_an_annotation_stands_above_the_box_or_in_it_where_there_is_no_room(bench):
    above = changed(bench, bench.value("draw_box", image_path="a.png", box=[20, 60, 80, 120], annotation="Lens"))
    assert 40 <= above[1] < 55
    inside = changed(bench, bench.value("draw_box", image_path="a.png", box=[20, 2, 80, 120], annotation="Lens"))
    assert inside[1] == 2


@pytest.mark.parametrize(
    ("position", "where"),
    [
        ("(40, 180)", (40, 180)), ("lt", (15, 15)), ("lb", (15, 185)), ("rt", (285, 15)), ("rb", (285, 185)), ("mm", (150, 100)),
    ],
)  # fmt: skip
def test_add_text_puts_the_text_at_its_place(bench, position, where):
    bench.folder.joinpath("a.png").unlink()
    Image.new("RGB", (300, 200), "white").save(bench.folder / "a.png")
    x1, y1, x2, y2 = changed(bench, bench.value("add_text", image_path="a.png", text="Hello", position=position))
    corner = {
        "(40, 180)": (x1, y2), "lt": (x1, y1), "lb": (x1, y2), "rt": (x2, y1), "rb": (x2, y2), "mm": ((x1 + x2) / 2, (y1 + y2) / 2),
    }[position]  # fmt: skip
    assert max(abs(a - b) for a, b in zip(corner, where, strict=True)) <= 2


def test_add_text_takes_a_colour(bench):
    name = bench.value("add_text", image_path="a.png", text="HHHH", position="lt", color="#00ff00")
    assert min(red for _, (red, green, _) in bench.image(name).getcolors(100_000) if green == 255) < 20
    assert bench.refusal("add_text", image_path="a.png", text="X", position="lt", color="reddish")[0] == "bad_arguments"


@pytest.mark.parametrize("position", ["top", "(1, 2, 3)", "", "5", "__import__('os')"])
def test_a_position_that_is_none_is_told_what_one_is(bench, position):
    kind, message = bench.refusal("add_text", image_path="a.png", text="X", position=position)
    assert (kind, '"mt" (middle-top)' in message) == ("bad_arguments", True)


def test_side_by_side_brings_all_to_one_height(bench):
    Image.new("RGB", (50, 100), "red").save(bench.folder / "b.png")
    row = bench.image(bench.value("side_by_side", image_paths=["a.png", "b.png"]))
    assert row.size == (300 + 10 + 100, 200)
    assert row.getpixel((305, 5)) == (255, 255, 255)
    assert row.getpixel((400, 199)) == (255, 0, 0)
    assert bench.refusal("side_by_side", image_paths=[])[0] == "bad_arguments"


def test_paste_keeps_what_is_transparent(bench):
    over = Image.new("RGBA", (40, 40), (255, 0, 0, 255))
    over.paste((0, 0, 0, 0), (0, 0, 20, 40))
    over.save(bench.folder / "b.png")
    image = bench.image(bench.value("paste_image", image_path="a.png", other_image_path="b.png", x=10, y=10))
    assert (image.getpixel((15, 15)), image.getpixel((40, 15))) == ((255, 255, 255), (255, 0, 0))
    assert bench.refusal("paste_image", image_path="a.png", other_image_path="b.png", x=999, y=0)[0] == "bad_arguments"


@pytest.mark.parametrize(
    ("to", "blue", "mode"),
    [
        ("grayscale", 29, "L"), ("black_white", 0, "L"), ("inverted", (255, 255, 0), "RGB"), ("mirrored", (0, 0, 255), "RGB"),
        ("flipped", (0, 0, 255), "RGB"), ("rgb", (0, 0, 255), "RGB"),
    ],
)  # fmt: skip
def test_convert(bench, to, blue, mode):
    image = bench.image(bench.value("convert_image", image_path="a.png", to=to))
    assert (image.mode, image.getpixel((150, 100))) == (mode, blue)


def test_an_unknown_conversion_is_told_the_known_ones(bench):
    assert "grayscale" in bench.refusal("convert_image", image_path="a.png", to="sepia")[1]


def test_image_info_is_of_the_upright_picture(bench):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(bench.folder / "b.jpg", exif=exif)
    assert bench.value("image_info", image_path="b.jpg") == {
        "width": 20, "height": 30, "format": "JPEG", "mode": "RGB", "frames": 1,
    }  # fmt: skip


def test_transparent_parts_are_white(bench):
    Image.new("RGBA", (10, 10), (255, 0, 0, 0)).save(bench.folder / "b.png")
    assert bench.image(bench.value("convert_image", image_path="b.png", to="rgb")).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["crop_image", "image_info", "convert_image", "rotate_image"])
@pytest.mark.parametrize("damage", ["text", "cut off", "empty", "huge"])
def test_a_bad_file_is_told_by_each_tool(bench, name, damage, monkeypatch):
    file = bench.folder / "b.png"
    whole = (bench.folder / "a.png").read_bytes()
    file.write_bytes({"text": b"hello", "cut off": whole[: len(whole) // 2], "empty": b"", "huge": whole}[damage])
    if damage == "huge":
        monkeypatch.setattr(images, "MAX_PIXELS", 59_999)
    arguments = {"crop_image": {"box": [0, 0, 9, 9]}, "convert_image": {"to": "rgb"}, "rotate_image": {"degrees": 5}}
    kind, message = bench.refusal(name, image_path="b.png", **arguments.get(name, {}))
    assert (kind, "b.png" in message) == ("refused" if damage == "huge" else "failed", True)


def test_a_header_that_claims_too_many_pixels_is_refused_before_decoding(bench):
    image = Image.new("1", (20_000, 20_000))  # 400 million pixels in 50 kB
    image.save(bench.folder / "b.png")
    kind, message = bench.refusal("image_info", image_path="b.png")
    assert (kind, "20000 x 20000" in message or "larger than" in message) == ("refused", True)
