"""The tools that ask a model or the web: what it is asked, what they give back, what they do without it."""

import io

import pytest
from desks import LocalSandbox
from PIL import Image

from tracer1.errors import ExecutorError
from tracer1.toolbox.backends import Backends, Hit
from tracer1.toolbox.cache import Cache
from tracer1.toolbox.spec import ToolError
from tracer1.toolbox.toolbox import Toolbox

np = pytest.importorskip("numpy")

TOOLS = [
    "visualizer", "objectlocation", "segmentation", "image_generator", "image_edit", "ask_search_agent", "web_search", "visit_page",
    "find_on_page",
]  # fmt: skip


class Seer:
    """Vision and language: repeats what it is asked."""

    identity = "seer"

    def __init__(self, answer: str | None = None) -> None:
        self.asked: list[tuple] = []
        self.answer = answer

    def ask(self, question, images=()):
        self.asked.append((question, *images))
        return self.answer or f"about {question}"


class Finder:
    """Finds everything in the right lower quarter."""

    identity = "finder"

    def find(self, image, name):
        width, height = Image.open(io.BytesIO(image)).size
        return [] if name == "cat" else [((width / 2, height / 2, float(width), height / 3 * 2.0), 0.9)]


class Cutter:
    """The boxes are the outlines."""

    identity = "cutter"

    def masks(self, image, boxes):
        width, height = Image.open(io.BytesIO(image)).size
        self.boxes = boxes
        masks = np.zeros((len(boxes or [1] * 3), height, width), bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes or [(0, 0, 1, 1)] * 3, strict=True):
            mask[round(y1) : round(y2), round(x1) : round(x2)] = True
        return masks


class Painter:
    """Paints a red dot."""

    identity = "painter"

    def __init__(self, kind: str = "PNG") -> None:
        self.kind, self.asked = kind, []

    def _paint(self):
        buffer = io.BytesIO()
        Image.new("RGB", (1, 1), "red").save(buffer, self.kind)
        return buffer.getvalue()

    def generate(self, prompt):
        self.asked.append((prompt,))
        return self._paint()

    def edit(self, prompt, image):
        self.asked.append((prompt, image))
        return self._paint()


class Web:
    """Search and pages."""

    identity = "web"

    def __init__(self, hits=(), pages=None) -> None:
        self.hits, self.pages, self.read_urls = list(hits), pages or {}, []

    def search(self, query, count=10):
        self.query, self.count = query, count
        return self.hits[:count]

    def read(self, url):
        self.read_urls.append(url)
        if url not in self.pages:
            raise ToolError("failed", f"{url} answers 404.")
        return self.pages[url]


@pytest.fixture
def call(tmp_path, picture):
    """`call(name, backends, **arguments)` in a folder with a.png (96 x 64) and large.png (4000 x 1000)."""
    (tmp_path / "a.png").write_bytes(picture)
    Image.new("RGB", (4000, 1000), "white").save(tmp_path / "large.png")
    (tmp_path / "a.txt").write_text("no image")

    def call(name, backends, **arguments):
        box = Toolbox(TOOLS, sandbox=LocalSandbox(), backends=Backends(**backends))
        with box.desk(tmp_path) as desk:
            return box.call(desk, name, arguments)

    call.folder = tmp_path
    return call


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("visualizer", {"question": "?", "image_path": "a.png"}),
        ("objectlocation", {"object": "dog", "image_path": "a.png"}),
        ("segmentation", {"image_path": "a.png"}),
        ("image_generator", {"prompt": "a dog"}),
        ("image_edit", {"prompt": "night", "image_path": "a.png"}),
        ("ask_search_agent", {"query": "What is a dog?"}),
        ("web_search", {"query": "dog"}),
        ("visit_page", {"url": "http://a.example"}),
        ("find_on_page", {"url": "http://a.example", "search_string": "dog"}),
    ],
)
def test_without_a_backend_they_are_unavailable(call, name, arguments):
    result = call(name, {}, **arguments)
    assert result.kind == "unavailable"
    assert "executor.backends." in result.error


def test_visualizer_asks_about_the_picture(call):
    seer = Seer()
    assert call("visualizer", {"vision": seer}, question="How many?", image_path="a.png").value == "about How many?"
    assert Image.open(io.BytesIO(seer.asked[0][1])).size == (96, 64)


@pytest.mark.parametrize("question", ["", "  "])
def test_visualizer_describes_when_nothing_is_asked(call, question):
    seer = Seer("a square")
    assert call("visualizer", {"vision": seer}, question=question, image_path="a.png").value == (
        "No question was given; the image in detail: a square"
    )
    assert "Describe in detail" in seer.asked[0][0]


def test_a_model_is_shown_no_more_than_it_can_see(call):
    seer = Seer()
    call("visualizer", {"vision": seer}, question="?", image_path="large.png")
    assert Image.open(io.BytesIO(seer.asked[0][1])).size == (1568, 392)


@pytest.mark.parametrize("name", ["visualizer", "objectlocation", "segmentation", "image_edit"])
def test_what_is_no_image_reaches_no_model(call, name):
    arguments = {"visualizer": {"question": "?"}, "objectlocation": {"object": "a"}, "image_edit": {"prompt": "a"}}.get(
        name, {}
    )
    seer = Seer()
    backends = {"vision": seer, "detection": Finder(), "segmentation": Cutter(), "images": Painter()}
    result = call(name, backends, image_path="a.txt", **arguments)
    assert result.kind == "failed"
    assert "not an image" in result.error
    assert call(name, backends, image_path="http://a.example/a.png", **arguments).kind == "refused"
    assert not seer.asked


def test_objectlocation_gives_pixels_of_the_image_itself(call):
    finder = {"detection": Finder()}
    assert call("objectlocation", finder, object="dog", image_path="a.png").value == [[48.0, 32.0, 96.0, 42.67]]
    assert call("objectlocation", finder, object="dog", image_path="large.png").value == [
        [2000.0, 500.0, 4000.0, 666.67]
    ]
    assert call("objectlocation", finder, object="cat", image_path="a.png").value == []
    assert call("objectlocation", finder, object=" ", image_path="a.png").kind == "bad_arguments"


def test_segmentation_gives_arrays_in_the_size_of_the_image_and_no_pickle(call):
    cutter = Cutter()
    result = call(
        "segmentation",
        {"segmentation": cutter},
        image_path="large.png",
        prompt=[[0, 0, 2000, 500], [3000, 0, 4000, 1000]],
    )
    assert result.value == "segmentation_1.npz"
    assert result.files == ("segmentation_1.npz",)
    arrays = np.load(call.folder / result.value, allow_pickle=False)
    assert arrays["masks"].shape == (2, 1000, 4000)
    assert arrays["masks"].dtype == bool
    assert np.abs(arrays["boxes"] - [[0, 0, 2000, 500], [3000, 0, 4000, 1000]]).max() <= 3
    assert cutter.boxes[0] == pytest.approx((0, 0, 784, 196))


@pytest.mark.parametrize("prompt", [None, []])
def test_segmentation_without_boxes_takes_everything(call, prompt):
    cutter = Cutter()
    arguments = {} if prompt is None else {"prompt": prompt}
    result = call("segmentation", {"segmentation": cutter}, image_path="a.png", **arguments)
    assert cutter.boxes is None
    assert np.load(call.folder / result.value)["masks"].shape == (3, 64, 96)


def test_segmentation_holds_only_so_many_masks(call, monkeypatch):
    monkeypatch.setattr("tracer1.toolbox.tools.segmentation._MOST_BYTES", 2 * 96 * 64)
    everything = call("segmentation", {"segmentation": Cutter()}, image_path="a.png")
    assert np.load(call.folder / everything.value)["masks"].shape == (2, 64, 96)
    result = call("segmentation", {"segmentation": Cutter()}, image_path="a.png", prompt=[[0, 0, 9, 9]] * 3)
    assert (result.kind, "at most 2 boxes" in result.error) == ("refused", True)


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp")])
def test_pictures_that_a_model_makes_are_files_of_the_task(call, kind, suffix):
    painter = Painter(kind)
    made = call("image_generator", {"images": painter}, prompt="a dog")
    edited = call("image_edit", {"images": painter}, prompt="night", image_path="a.png")
    assert (made.value, edited.value) == (f"generated_1{suffix}", f"edited_1{suffix}")
    assert Image.open(call.folder / edited.value).format == kind
    assert painter.asked[1][0] == "night"
    for name, more in (("image_generator", {}), ("image_edit", {"image_path": "a.png"})):
        assert call(name, {"images": painter}, prompt=" ", **more).kind == "bad_arguments"


HITS = [Hit(f"Title {n}", f"http://{n}.example", f"snippet {n}") for n in range(1, 6)]
PAGES = {"http://1.example": "page one " * 2000, "http://3.example": "page three"}


def test_the_search_agent_has_a_model_sum_up_what_it_found(call):
    seer = Seer("Sure!\n### 1. Answer in short\nyes\n### 2. Answer in detail\nbecause [1]\n### 3. What else\nmore\n")
    web = Web(HITS, PAGES)
    result = call("ask_search_agent", {"search": web, "pages": web, "language": seer}, query=" Is it so? ")
    assert result.value == (
        "Search Result:\n### 1. Answer in short\nyes\n### 2. Answer in detail\nbecause [1]\n### 3. What else\nmore"
    )
    prompt = seer.asked[0][0]
    assert "Question: Is it so?" in prompt
    assert "page three" in prompt
    assert "snippet 5" in prompt
    assert prompt.count("page one") < 700  # a page does not crowd out the others
    assert web.read_urls == ["http://1.example", "http://2.example", "http://3.example"]


def test_a_summary_without_sections_gets_them(call):
    value = call("ask_search_agent", {"search": Web(HITS), "language": Seer("Just yes.")}, query="?").value
    assert value.startswith("Search Result:\n### 1. Answer in short\nJust yes.\n### 2. ")
    assert "### 3. What else the results say\nTitle 1: snippet 1 (http://1.example)" in value


def test_the_search_agent_does_without_a_model_and_without_pages(call):
    web = Web(HITS, PAGES)
    for backends in ({"search": web, "pages": web}, {"search": web}):
        value = call("ask_search_agent", backends, query="?").value
        assert [f"### {n}. " in value for n in (1, 2, 3)] == [True] * 3
        assert "snippet 1" in value
        assert "[2] Title 2: snippet 2" in value
    assert "page three" not in value


def test_a_search_that_finds_nothing_says_so(call):
    seer = Seer()
    assert "found nothing" in call("ask_search_agent", {"search": Web(), "language": seer}, query="?").value
    assert call("web_search", {"search": Web()}, query="?").value == "Nothing was found."
    assert not seer.asked


def test_web_search_lists_hits(call):
    web = Web(HITS)
    assert call("web_search", {"search": web}, query="a", count=2).value == (
        "1. Title 1 (http://1.example): snippet 1\n2. Title 2 (http://2.example): snippet 2"
    )
    call("web_search", {"search": web}, query="a", count=1000)
    assert web.count == 20
    for name in ("web_search", "ask_search_agent"):
        assert call(name, {"search": web}, query="").kind == "bad_arguments"


def test_a_long_page_is_read_in_parts(call):
    web = {"pages": Web(pages={"u": "a" * 5120 + "b" * 100})}
    assert call("visit_page", web, url="u").value == "Part 1 of 2.\n" + "a" * 5120
    assert call("visit_page", web, url="u", part=2).value == "Part 2 of 2.\n" + "b" * 100
    for part in (0, 3, -1):
        assert call("visit_page", web, url="u", part=part).kind == "bad_arguments"
    assert call("visit_page", {"pages": Web(pages={"u": ""})}, url="u").value == "Part 1 of 1.\n"
    assert call("visit_page", web, url="v").kind == "failed"


def test_a_text_is_found_on_a_page(call):
    web = {"pages": Web(pages={"u": "x" * 6000 + " the Dog sleeps " + "y" * 6000 + " a dog "})}
    lines = call("find_on_page", web, url="u", search_string="DOG").value.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("1. (part 2) ...")
    assert "the Dog sleeps" in lines[0]
    assert lines[1].startswith("2. (part 3) ...")
    assert "not on the page" in call("find_on_page", web, url="u", search_string="cat").value
    assert call("find_on_page", web, url="u", search_string=" ").kind == "bad_arguments"


def test_a_dead_page_reader_is_infrastructure(call):
    class Dead(Web):
        def read(self, url):
            raise ExecutorError("gone")

    with pytest.raises(ExecutorError):
        call("ask_search_agent", {"search": Web(HITS), "pages": Dead()}, query="?")


def test_another_model_or_another_page_reader_is_another_answer(tmp_path):
    cache, runs = Cache(tmp_path), []

    def ask(language=None, pages=None):
        box = Toolbox(
            ["ask_search_agent"], backends=Backends(search=Web(HITS), language=language, pages=pages), cache=cache
        )
        with box.desk() as desk:
            runs.append(not box.call(desk, "ask_search_agent", {"query": "?"}).cached)

    for language, pages in ((None, None), (Seer("a"), None), (Seer("a"), Web()), (None, None), (Seer("a"), None)):
        ask(language, pages)
    assert runs == [True, True, True, False, False]
