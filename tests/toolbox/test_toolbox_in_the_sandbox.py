"""The toolbox around a real sandbox: code calls tools that open files in there, and what code does to its folder reaches no further."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from desks import real_sandbox

from tracer1.errors import ExecutorError
from tracer1.toolbox.backends import Backends
from tracer1.toolbox.cache import Cache
from tracer1.toolbox.toolbox import Toolbox

TOOLS = ["python_interpreter", "visualizer", "inspect_file_as_text", "image_generator", "solver", "final_answer"]


class Seer:
    """Vision and images: says what it is asked, paints nothing."""

    identity = "seer"

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def ask(self, question, images=()):
        if question == "die":
            raise ExecutorError("the model is gone")
        self.seen += images
        return f"seen: {question}"

    def generate(self, prompt):
        return b"\x89PNG" + prompt.encode()


@pytest.fixture(scope="module")
def sandbox():
    with real_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def episode(sandbox, tmp_path, picture):
    """`(call, seer)`: calls in an episode with a.png; `call.folder` is its folder."""
    seer = Seer()
    toolbox = Toolbox(
        TOOLS, sandbox=sandbox, backends=Backends(vision=seer, images=seer), cache=Cache(tmp_path / "kept")
    )
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture)
    (tmp_path / "secret.txt").write_text("secret")
    with toolbox.desk(folder) as desk:

        def call(name, **arguments):
            return toolbox.call(desk, name, arguments)

        call.folder = folder
        yield call, seer


def test_code_calls_a_tool_that_opens_a_file_in_the_sandbox(episode):
    call, seer = episode
    result = call(
        "python_interpreter", code="answer = visualizer('what?', image_path='/work/a.png')\nprint(answer.upper())"
    )
    assert result.value == "SEEN: WHAT?"
    assert seer.seen[0].startswith(b"\x89PNG")
    assert call("python_interpreter", code="print(answer)").value == "seen: what?"


def test_code_catches_what_was_wrong_with_its_call(episode):
    call, _ = episode
    code = "try:\n    visualizer('what?', image_path='b.png')\nexcept Exception as error:\n    print(error)"
    assert "Did you mean 'a.png'?" in call("python_interpreter", code=code).value
    assert "NameError" in call("python_interpreter", code="python_interpreter('1')").error


def test_a_dead_model_voids_the_run_whatever_the_code_does(episode):
    call, _ = episode
    with pytest.raises(ExecutorError, match="the model is gone"):
        call(
            "python_interpreter", code="try:\n    visualizer('die', 'a.png')\nexcept BaseException:\n    print('fine')"
        )
    assert call("python_interpreter", code="print(1)").value == "1"


def test_a_link_that_code_makes_leads_nowhere(episode):
    call, seer = episode
    made = call(
        "python_interpreter",
        code="import os\nos.symlink('../secret.txt', 'link.txt')\nos.symlink('/etc/passwd', 'p.png')",
    )
    assert made.ok
    assert call("inspect_file_as_text", file_path="link.txt").kind == "refused"
    assert call("visualizer", question="?", image_path="p.png").kind == "refused"
    assert not seer.seen


def test_a_place_that_code_has_taken_is_not_written_through(episode):
    call, _ = episode
    call("python_interpreter", code="import os\nos.symlink('../secret.txt', 'generated_1.png')")
    assert call("image_generator", prompt="a dog").value == "generated_2.png"
    assert (call.folder.parent / "secret.txt").read_text() == "secret"


def test_code_cannot_change_what_tools_run(episode):
    call, _ = episode
    fake = "lambda **words: {'value': {'data': '', 'width': 1, 'height': 1}}"
    code = f"import tracer1.toolbox.inside.pixels as pixels\npixels.encoded = {fake}"
    call("python_interpreter", code=code)
    call("solver", command=f"def solution():\n    exec({code!r})\n    return 'done'")
    assert call("visualizer", question="?", image_path="a.png").value == "seen: ?"
    assert episode[1].seen[0].startswith(b"\x89PNG")


def test_files_that_code_writes_are_told_and_can_be_looked_at(episode):
    call, _ = episode
    code = "from PIL import Image\nImage.new('RGB', (9, 9)).save('new.png')"
    assert call("python_interpreter", code=code).files == ("new.png",)
    assert call("visualizer", question="what?", image_path="new.png").ok


def test_episodes_side_by_side_do_not_meet(sandbox, tmp_path, picture):
    toolbox = Toolbox(TOOLS, sandbox=sandbox, backends=Backends(vision=Seer()))

    def run(number):
        with toolbox.desk() as desk:
            (desk.workspace.folder / "a.png").write_bytes(picture)
            toolbox.call(desk, "python_interpreter", {"code": f"x = {number}\nopen('n.txt', 'w').write(str(x))"})
            code = "print(x, open('n.txt').read(), visualizer(str(x), 'a.png'))"
            return toolbox.call(desk, "python_interpreter", {"code": code}).value

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(run, range(12))) == [f"{n} {n} seen: {n}" for n in range(12)]
