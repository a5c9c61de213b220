import pytest
from desks import Bench
from PIL import Image, ImageDraw


@pytest.fixture
def bench(tmp_path) -> Bench:
    image = Image.new("RGB", (320, 240), (30, 120, 40))
    ImageDraw.Draw(image).ellipse((100, 60, 200, 160), fill=(230, 200, 30))
    image.save(tmp_path / "a.png")
    return Bench(tmp_path, ["segment_box", "qr_code", "detect_edges", "stylize_image"])


def test_segment_box_finds_the_thing_in_the_box(bench):
    result = bench.call("segment_box", image_path="a.png", box=[80, 40, 220, 180])
    assert result.files == ("mask_1.png",)
    assert result.value["mask_path"] == "mask_1.png"
    assert max(abs(a - b) for a, b in zip(result.value["box"], (100, 60, 201, 161), strict=True)) <= 2
    assert abs(result.value["share"] - 3.1416 * 50**2 / 140**2) < 0.02
    mask = bench.image("mask_1.png")
    assert (mask.mode, mask.size) == ("L", (320, 240))
    assert (mask.getpixel((150, 110)), mask.getpixel((85, 45)), mask.getpixel((5, 5))) == (255, 0, 0)


def test_segment_box_answers_the_same_twice(bench):
    one, other = (bench.value("segment_box", image_path="a.png", box=[80, 40, 220, 180]) for _ in range(2))
    assert one["share"] == other["share"]


def test_segment_box_works_in_a_large_image_in_its_own_pixels(bench):
    bench.image("a.png").resize((3200, 2400)).save(bench.folder / "b.png")
    value = bench.value("segment_box", image_path="b.png", box=[800, 400, 2200, 1800])
    assert max(abs(a - b) for a, b in zip(value["box"], (1000, 600, 2010, 1610), strict=True)) <= 25


def test_a_box_as_large_as_the_image_has_no_background(bench):
    assert bench.refusal("segment_box", image_path="a.png", box=[0, 0, 320, 240])[0] == "bad_arguments"


def test_a_box_of_one_pixel_is_no_crash(bench):
    assert bench.value("segment_box", image_path="a.png", box=[150, 100, 151, 101])["share"] >= 0


def test_qr_code(bench):
    import cv2

    code = Image.fromarray(cv2.QRCodeEncoder.create().encode("https://example.org/a?b=1"))
    page = Image.new("L", (400, 400), 255)
    page.paste(code.resize((200, 200), Image.Resampling.NEAREST), (80, 80))
    page.save(bench.folder / "b.png")
    assert bench.value("qr_code", image_path="b.png") == ["https://example.org/a?b=1"]
    assert bench.value("qr_code", image_path="a.png") == []


def test_detect_edges_draws_the_outline(bench):
    image = bench.image(bench.value("detect_edges", image_path="a.png"))
    assert (image.mode, image.getpixel((150, 110)), image.getpixel((10, 10))) == ("L", 0, 0)
    assert max(image.crop((95, 105, 105, 115)).tobytes()) == 255


@pytest.mark.parametrize("style", ["sketch", "color_sketch", "painting", "cartoon"])
def test_stylize_image(bench, style):
    image = bench.image(bench.value("stylize_image", image_path="a.png", style=style))
    assert image.size == (320, 240)
    assert image.mode == ("L" if style == "sketch" else "RGB")


def test_an_unknown_style_is_told_the_known_ones(bench):
    assert "cartoon" in bench.refusal("stylize_image", image_path="a.png", style="cubism")[1]
