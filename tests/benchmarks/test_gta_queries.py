"""GTA's dataset.json: a hand-written one in the owner's layout, mistakes, and the real records where they are at hand."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tracer1.environments._tools.gta_queries import GtaQuery, read_gta
from tracer1.errors import DataError
from tracer1.metrics.gta import NAMES, GtaTask, episode_figures, step_figures
from tracer1.metrics.share import Share

SHARED = Path(__file__).parents[3] / "shared" / "data" / "gta"
OCR = {
    "name": "OCR",
    "description": "Reads.",
    "inputs": [{"type": "image", "name": "image"}],
    "outputs": [{"type": "text"}],
}


def call(name: str, **arguments: object) -> dict:
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "thought": "Let me see.", "tool_calls": [{"type": "function", "function": function}]}


def item(gold: Any = None, **fields: object) -> dict:
    dialogs = [
        {"role": "user", "content": "How many cups?"},
        call("OCR", image="image/image_1.jpg", note="image/none.jpg", k=3, text="image", long="x" * 5000, nul="\x00"),
        {"role": "tool", "name": "OCR", "content": {"type": "text", "content": "2"}},
        {"role": "assistant", "content": "2"},
    ]
    files = [{"type": "image", "path": "image/image_1.jpg", "url": None}]
    return {"tools": [OCR], "files": files, "dialogs": dialogs, "gt_answer": gold, **fields}


def write(folder: Path, queries: object) -> Path:
    (folder / "image").mkdir()
    (folder / "image" / "image_1.jpg").write_bytes(b"not looked at")
    path = folder / "dataset.json"
    path.write_text(json.dumps(queries))
    return path


def test_a_query_as_its_owner_lays_it_out(tmp_path: Path):
    path = write(tmp_path, {"0": item({"whitelist": [["2", "two"]], "blacklist": None})})
    (query,) = read_gta(path)
    assert [query] == read_gta(tmp_path)  # the folder will do
    assert (query.key, query.instruction, query.kind) == ("0", "How many cups?", "objective")
    assert query.gold == {"whitelist": [["2", "two"]], "blacklist": []}
    assert query.files == (tmp_path / "image" / "image_1.jpg",)
    assert query.missing == []
    assert query.tools == (OCR,)
    assert len(query.dialogs) == 4
    assert query.dialogs[1]["thought"] == "Let me see."


def test_paths_of_files_that_are_there_are_absolute_in_calls(tmp_path: Path):
    ((name, arguments),) = read_gta(write(tmp_path, {"0": item()}))[0].calls
    assert name == "OCR"
    assert arguments["image"] == str(tmp_path / "image" / "image_1.jpg")
    assert arguments["note"] == "image/none.jpg"
    assert (arguments["k"], arguments["text"], arguments["nul"]) == (3, "image", "\x00")  # a folder is no file


def test_kinds(tmp_path: Path):
    golds = [{"whitelist": [["2"]], "blacklist": []}, ["Two cups.", "Two.", "2 cups"], None]
    queries = {str(number): item(gold) for number, gold in enumerate(golds)}
    queries["3"] = item()
    del queries["3"]["gt_answer"]
    assert [query.kind for query in read_gta(write(tmp_path, queries))] == [
        "objective",
        "subjective",
        "image",
        "unknown",
    ]


def test_files_that_are_missing_are_said(tmp_path: Path):
    files = [{"type": "image", "path": "image/image_2.jpg"}]
    (query,) = read_gta(write(tmp_path, {"0": item(files=files)}))
    assert query.missing == [tmp_path / "image" / "image_2.jpg"]


@pytest.mark.parametrize(
    ("queries", "said"),
    [
        ([], "an object of queries is needed, got []. GTA is released as Jize1/GTA on Hugging Face"),
        ({}, "holds no query. GTA is released as"),
        ({"7": 3}, "query '7' is no object"),
        ({"7": item(dialogs=None)}, "query '7': `dialogs` must be a list of objects, got None"),
        ({"7": item(dialogs=[])}, "query '7': `dialogs` must begin with the user's turn"),
        ({"7": item(dialogs=[call("OCR")])}, "query '7': `dialogs` must begin with the user's turn"),
        ({"7": item(tools=["OCR"])}, "query '7': `tools` must be a list of objects, got ['OCR']"),
        ({"7": item(tools=[{}])}, "query '7': every one of `tools` needs a `name`"),
        ({"7": item(files=[{"type": "image"}])}, "query '7': every one of `files` needs a `path`"),
        (
            {"7": item("2")},
            "query '7': `gt_answer`: an object with `whitelist` and `blacklist`, a list of texts or null",
        ),
    ],
)
def test_what_is_not_laid_out_so_is_named(tmp_path: Path, queries: object, said: str):
    path = write(tmp_path, queries)
    with pytest.raises(DataError) as caught:
        read_gta(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(DataError, match=r"No such file or directory\. GTA is released as"):
        read_gta(tmp_path)
    (tmp_path / "gta_all.json").write_text("{}")
    with pytest.raises(
        DataError, match=r"No such file or directory\. Is it one of gta_all\.json\? Then name that file\."
    ):
        read_gta(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="not a file of UTF-8 JSON"):
        read_gta(tmp_path)


# --- the real records ------------------------------------------------------------------------------------------------


def real(name: str) -> list[GtaQuery]:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not part of the repository")
    return read_gta(path)


def test_the_first_150_queries():
    queries = real("gta_first150_restructured.json")
    assert len(queries) == 150
    assert {query.kind for query in queries} == {"unknown"}  # no gold in the dump
    called = Counter(name for query in queries for name, _ in query.calls)
    assert called.total() == 362
    assert set(called) == set(NAMES)
    assert all(query.instruction and query.files and query.tools for query in queries)


def test_the_references_score_themselves():
    queries = real("gta_first150_restructured.json")
    tasks = [GtaTask(q.dialogs, q.gold, [turn for turn in q.dialogs if turn["role"] == "assistant"]) for q in queries]
    found = step_figures(tasks)
    assert (found.tool_acc, found.arg_acc) == (Share(362, 362), Share(362, 362))
    assert all(s.recall == 1.0 for s in episode_figures(tasks).selection.values())


def test_queries_with_images_and_one_with_its_answer():
    queries = real("figure_samples/samples.json")
    assert {query.key: len(query.files) for query in queries}["egg"] == 2
    assert not any(query.missing for query in queries)
    (query,) = real("toolvqa_dataset_record0.json")
    assert query.kind == "objective"
    assert episode_figures([GtaTask(query.dialogs, query.gold, [query.dialogs[-1]])]).ans_acc == Share(1, 1)
