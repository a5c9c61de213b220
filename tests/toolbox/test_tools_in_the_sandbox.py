"""One call of every tool behind the walls of the real sandbox, and what is hostile there."""

from collections.abc import Iterator

import papers
import pytest
from desks import Bench, need_tesseract, real_sandbox, written
from PIL import Image
from test_facedetection import face

PLOT = "import matplotlib.pyplot as plt\ndef solution():\n    return plt.figure(figsize=(2, 1))"


@pytest.fixture(scope="module")
def sandbox() -> Iterator:
    with real_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def bench(tmp_path, sandbox) -> Bench:
    written(["Total 19.44"]).save(tmp_path / "a.png")
    image = Image.new("RGB", (300, 300), (180, 190, 200))
    image.paste(face(200), (50, 50))
    image.save(tmp_path / "face.jpg")
    (tmp_path / "a.docx").write_bytes(papers.word())
    (tmp_path / "a.xlsx").write_bytes(papers.workbook())
    (tmp_path / "a.pptx").write_bytes(papers.presentation())
    (tmp_path / "a.pdf").write_bytes(papers.pdf("A page with a line of text that is long enough"))
    return Bench(tmp_path, None, sandbox=sandbox)


@pytest.mark.parametrize(
    ("name", "arguments", "piece"),
    [
        ("python_interpreter", {"code": "import numpy; print(numpy.arange(3).sum())"}, "3"),
        (
            "solver",
            {"command": "from sympy import *\ndef solution():\n    return str(solve(Symbol('x')**2 - 4))"},
            "[-2, 2]",
        ),
        ("plot", {"command": PLOT}, "plot_1.png"),
        ("crop_image", {"image_path": "a.png", "box": [0, 0, 9, 9]}, "crop_1.png"),
        ("resize_image", {"image_path": "a.png", "width": 9}, "resized_1.png"),
        ("rotate_image", {"image_path": "a.png", "degrees": 9}, "rotated_1.png"),
        ("draw_box", {"image_path": "a.png", "box": [0, 0, 9, 9], "annotation": "x"}, "boxed_1.png"),
        ("add_text", {"image_path": "a.png", "text": "x", "position": "mm"}, "texted_1.png"),
        ("side_by_side", {"image_paths": ["a.png", "face.jpg"]}, "row_1.png"),
        ("paste_image", {"image_path": "a.png", "other_image_path": "face.jpg", "x": 1, "y": 1}, "pasted_1.png"),
        ("convert_image", {"image_path": "a.png", "to": "grayscale"}, "converted_1.png"),
        ("stylize_image", {"image_path": "a.png", "style": "sketch"}, "stylized_1.png"),
        ("detect_edges", {"image_path": "a.png"}, "edges_1.png"),
        ("segment_box", {"image_path": "face.jpg", "box": [40, 40, 260, 260]}, "mask_1.png"),
        ("image_info", {"image_path": "a.png"}, "700"),
        ("qr_code", {"image_path": "a.png"}, "[]"),
        ("facedetection", {"image_path": "face.jpg"}, "[["),
        ("inspect_file_as_text", {"file_path": "a.docx"}, "# Report"),
        ("inspect_file_as_text", {"file_path": "a.xlsx"}, "=B2+B4"),
        ("inspect_file_as_text", {"file_path": "a.pptx"}, "# Sales"),
        ("inspect_file_as_text", {"file_path": "a.pdf"}, "long enough"),
    ],
)
def test_each_tool_works_there(bench, name, arguments, piece):
    value = bench.value(name, **arguments)
    assert piece in str(value)
    if piece.endswith(".png"):
        assert min(bench.image(piece).size) > 0


def test_tesseract_works_there(bench):
    need_tesseract()
    assert bench.value("ocr", image_path="a.png") == ["Total 19.44"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("def solution():\n    return len(bytearray(8 << 30))", ""),
        ("def solution():\n    import os\n    while True: os.fork()", "processes"),
        ("def solution():\n    import os\n    os.kill(1, 9)\n    os._exit(0)", ""),
        ("def solution():\n    import socket\n    return socket.create_connection(('1.1.1.1', 80), 1)", "Error"),
        ("def solution():\n    return open('/etc/shadow').read()", "Error"),
    ],
)
def test_a_hostile_program_fails_and_the_next_one_works(bench, command, said):
    with bench.toolbox.desk(bench.folder) as desk:
        result = bench.toolbox.call(desk, "solver", {"command": command})
        assert (result.kind, said in result.error) == ("failed", True), result.error
        assert bench.toolbox.call(desk, "solver", {"command": "def solution(): return 1"}).value == "1"


def test_a_bomb_that_is_not_told_beforehand_ends_at_the_memory_limit(bench):
    from tracer1.sandbox import Limits
    from tracer1.toolbox.spec import ToolError
    from tracer1.toolbox.tools._inside import inside

    sheet = b"<html>" + b"<p>" * 5_000_000
    (bench.folder / "b.html").write_bytes(sheet)
    with bench.toolbox.desk(bench.folder) as desk:
        with pytest.raises(ToolError) as error:
            inside(desk, "documents.as_text", Limits(memory_mb=300, wall_s=20), path=bench.folder / "b.html")
        assert error.value.kind in ("failed", "timeout")
        assert bench.toolbox.call(desk, "inspect_file_as_text", {"file_path": "a.pdf"}).ok
