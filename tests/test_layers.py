"""Imports go down the floors only, packages of one floor are strangers, and no name of ours hides a library."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "tracer1"

FLOORS = {
    5: {"train", "eval", "agent"},
    4: {"training", "benchmarks", "plan_act", "report", "scoring"},
    3: {"models"},
    2: {
        "data", "rewards", "engines", "executors", "environments", "toolbox", "sandbox", "algorithms", "metrics", "tracking",
    },
    1: {"actions", "alignment", "answers", "chat", "drawing", "json_lines", "needs", "parsing", "prompts", "syntax"},
    0: {"schema", "interfaces", "registry", "errors"},
}  # fmt: skip
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
SAME_FLOOR = {
    ("executors", "toolbox"),
    ("executors", "sandbox"),
    ("environments", "toolbox"),
    ("environments", "sandbox"),
    ("environments", "data"),
    ("environments", "metrics"),
    ("toolbox", "sandbox"),
    ("benchmarks", "plan_act"),
    ("training", "plan_act"),
    ("report", "plan_act"),
    ("report", "training"),
}  # the only neighbours that may meet
HEAVY = {
    "torch",
    "transformers",
    "lightning",
    "torchmetrics",
    "vllm",
    "deepspeed",
    "mlflow",
    "webdataset",
    "hydra",
    "omegaconf",
}

FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.name != "__init__.py")


def part_of(path: Path) -> str:
    """`rewards` for src/tracer1/rewards/format.py, `actions` for src/tracer1/actions.py."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[str]:
    """Every dotted name that a file imports, in functions too; a relative import comes back with its dots."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module == "tracer1":  # `from tracer1 import rewards` is an import of tracer1.rewards
                yield from (f"tracer1.{alias.name}" for alias in node.names)
            else:
                yield module


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def may_import(importer: str, imported: str) -> bool:
    above, below = FLOOR_OF[importer], FLOOR_OF[imported]
    if importer == imported or (importer, imported) in SAME_FLOOR:
        return True
    if above == below:
        return above in (0, 1)  # single files there, not packages; the test of cycles holds them apart
    return above > below


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down_only(path: Path):
    importer = part_of(path)
    assert importer in FLOOR_OF, (
        f"{importer} stands on no floor: add it to FLOORS here and to the table of tracer1/__init__.py"
    )
    for name in imports_of(path):
        assert not name.startswith("."), f"{path} imports {name}: write the full name"
        if name.startswith("tracer1."):
            imported = name.split(".")[1]
            assert may_import(importer, imported), (
                f"{path} (floor {FLOOR_OF[importer]}) may not import {name} (floor {FLOOR_OF[imported]})"
            )


def test_the_lowest_files_do_not_import_each_other_in_circles():
    graph = {
        part_of(path): {name.split(".")[1] for name in imports_of(path) if name.startswith("tracer1.")}
        for path in FILES
        if FLOOR_OF.get(part_of(path), 9) <= 1
    }
    while graph:
        free = [name for name, needs in graph.items() if not needs & graph.keys()]
        assert free, f"an import circle among {sorted(graph)}"
        for name in free:
            del graph[name]


@pytest.mark.parametrize("path", [path for path in FILES if FLOOR_OF.get(part_of(path)) == 0], ids=name_of)
def test_floor_0_needs_the_standard_library_only(path: Path):
    assert {name.split(".")[0] for name in imports_of(path)} <= {*sys.stdlib_module_names, "tracer1"}


@pytest.mark.parametrize(
    "path", [path for path in FILES if FLOOR_OF.get(part_of(path)) == 1 or part_of(path) in ("rewards",)], ids=name_of
)
def test_text_geometry_and_rewards_never_wait_for_a_heavy_library(path: Path):
    assert not {name.split(".")[0] for name in imports_of(path)} & HEAVY


def test_no_name_of_ours_hides_a_library():
    # Running a file of the package puts src/tracer1 first on the path; `evaluate` is not installed, but mlflow asks for it.
    ours = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()} - {"__init__", "__pycache__"}
    libraries = {name for name, owners in packages_distributions().items() if owners != ["tracer1"]}
    assert not ours & {*sys.stdlib_module_names, *libraries, "evaluate", "datasets", "lightning", "wandb"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_says_what_it_is(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} needs a docstring"
