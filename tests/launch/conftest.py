"""What the tests of launchers share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a toy training needs, see `tests/training/toy_run.py`."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "training"))
    import toy_run

    folder = tmp_path / "toy"
    toy_run.write_toy_shards(folder)
    toy_run.make_toy_planner(folder / "planner")
    return folder
