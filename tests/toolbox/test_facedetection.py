import pytest
from desks import Bench
from PIL import Image, ImageDraw, ImageFilter

from tracer1.errors import ConfigError
from tracer1.toolbox.backends import make_backends
from tracer1.toolbox.inside import vision


def face(size: int) -> Image.Image:
    """A face as Haar's cascades know them: light and dark where eyes, nose and mouth are."""
    image = Image.new("L", (200, 200), 200)
    draw = ImageDraw.Draw(image)
    parts = [
        ((40, 15, 160, 190), 60), ((50, 40, 150, 185), 215), ((62, 80, 95, 92), 70), ((105, 80, 138, 92), 70),
        ((65, 86, 92, 104), 110), ((108, 86, 135, 104), 110), ((73, 90, 85, 102), 20), ((115, 90, 127, 102), 20),
        ((92, 95, 108, 132), 235), ((88, 126, 112, 138), 140), ((75, 148, 125, 164), 90),
    ]  # fmt: skip
    for place, grey in parts:
        draw.ellipse(place, fill=grey)
    return image.filter(ImageFilter.GaussianBlur(3)).resize((size, size)).convert("RGB")


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path, ["facedetection"])


def test_finds_each_face_and_gives_whole_pixels(bench):
    image = Image.new("RGB", (640, 480), (180, 190, 200))
    image.paste(face(160), (400, 200))
    image.paste(face(200), (100, 120))
    image.save(bench.folder / "a.png")
    boxes = bench.value("facedetection", image_path="a.png")
    assert [all(type(side) is int for side in box) for box in boxes] == [True, True]
    for (x1, y1, x2, y2), (left, top, size) in zip(boxes, [(100, 120, 200), (400, 200, 160)], strict=True):
        assert x1 <= left + size / 2 <= x2
        assert y1 <= top + size / 2 <= y2
        assert 0.9 < (x2 - x1) / size < 1.2  # the face fills 0.7 of its picture, and is enlarged by a half


def test_a_face_in_a_large_photograph_is_found_in_its_own_pixels(bench):
    image = Image.new("RGB", (4000, 3000), (180, 190, 200))
    image.paste(face(1000), (2500, 1500))
    image.save(bench.folder / "a.jpg")
    ((x1, y1, x2, y2),) = bench.value("facedetection", image_path="a.jpg")
    assert x1 < 3000 < x2 <= 4000
    assert y1 < 2000 < y2 <= 3000


def test_boxes_are_enlarged_by_a_half_and_cut_off_at_the_edges():
    assert vision._larger([40, 40, 60, 80], (100, 90)) == [35, 30, 65, 90]


def test_no_face_is_an_empty_list(bench):
    Image.new("RGB", (300, 200), "green").save(bench.folder / "a.png")
    assert bench.value("facedetection", image_path="a.png") == []


def test_weights_that_cannot_be_read_are_the_configurations_mistake(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.onnx' cannot be read"):
        make_backends({"faces": {"kind": "yunet", "weights": str(tmp_path / "none.onnx")}})
    (tmp_path / "large.onnx").write_bytes(bytes(9 << 20))
    with pytest.raises(ConfigError, match="9,437,184 bytes"):
        make_backends({"faces": {"kind": "yunet", "weights": str(tmp_path / "large.onnx")}})


def test_weights_that_are_none_are_told(tmp_path):
    Image.new("RGB", (30, 20), "green").save(tmp_path / "a.png")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    backends = make_backends({"faces": {"kind": "yunet", "weights": str(tmp_path / "broken.onnx")}})
    kind, message = Bench(tmp_path, ["facedetection"], backends).refusal("facedetection", image_path="a.png")
    assert (kind, "YuNet weights" in message) == ("unavailable", True)


def test_other_weights_have_another_identity(tmp_path):
    made = []
    for content in (b"one", b"other"):
        (tmp_path / "a.onnx").write_bytes(content)
        made.append(make_backends({"faces": {"kind": "yunet", "weights": str(tmp_path / "a.onnx")}}).identity("faces"))
    assert made[0].startswith("faces=yunet ")
    assert made[0] != made[1]
