"""Names, late imports and what a miss says."""

import sys
from pathlib import Path

import pytest

from tracer1.errors import ConfigError, UnknownName
from tracer1.registry import Registry, bound, nearest


@pytest.fixture
def fruits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package whose modules register a fruit each; `rotten` breaks on import."""
    package = tmp_path / "fruit_bowl"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from tracer1.registry import Registry\nFRUITS = Registry('fruit', 'fruit_bowl')\n"
    )
    (package / "apple.py").write_text(
        "from fruit_bowl import FRUITS\n@FRUITS.register('apple')\ndef apple():\n    return 'red'\n"
    )
    (package / "_peel.py").write_text("")
    (package / "empty.py").write_text("")
    (package / "rotten.py").write_text("import no_such_library_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    import fruit_bowl

    yield fruit_bowl.FRUITS
    for name in [name for name in sys.modules if name.startswith("fruit_bowl")]:
        del sys.modules[name]


def test_names_lists_public_modules_without_importing_them(fruits: Registry):
    assert fruits.names() == ["apple", "empty", "rotten"]
    assert "fruit_bowl.apple" not in sys.modules


def test_get_imports_the_module_of_that_name(fruits: Registry):
    assert fruits.get("apple")() == "red"
    assert fruits.get("apple") is fruits.get("apple")


def test_a_plugin_registers_beside_the_files(fruits: Registry):
    fruits.register("pear")(lambda: "green")
    assert fruits.get("pear")() == "green"
    assert "pear" in fruits.names()


def test_a_miss_names_the_nearest_and_says_how_to_add_it(fruits: Registry):
    with pytest.raises(
        UnknownName, match=r"No fruit 'aple'\. Did you mean 'apple'\? Known: apple, .*fruit_bowl/aple\.py"
    ) as caught:
        fruits.get("aple")
    assert isinstance(caught.value, ConfigError)
    assert isinstance(caught.value, LookupError)


def test_a_module_that_registers_nothing_is_a_miss(fruits: Registry):
    with pytest.raises(UnknownName, match="No fruit 'empty'"):
        fruits.get("empty")


def test_a_missing_library_is_not_mistaken_for_an_unknown_name(fruits: Registry):
    with pytest.raises(ModuleNotFoundError, match="no_such_library_at_all"):
        fruits.get("rotten")


def test_a_taken_name_is_refused(fruits: Registry):
    with pytest.raises(ValueError, match=r"fruit 'kiwi' is taken by .*; pick another name"):
        fruits.register("kiwi")(len) and fruits.register("kiwi")(max)


def test_nearest_is_silent_when_nothing_is_near():
    assert nearest("zzz", ["apple"]) == ""
    assert nearest("gama", ["alpha", "gamma"]) == " Did you mean 'gamma'?"


def test_a_folder_stands_for_the_names_in_it(fruits: Registry, tmp_path: Path):
    for folder, files in {"citrus": ("lemon", "_peel"), "grape": ("_vine",)}.items():
        (tmp_path / "fruit_bowl" / folder).mkdir()
        for file in ("__init__", *files):
            name = f"{folder}.{file}"
            body = f"from fruit_bowl import FRUITS\nFRUITS.register({name!r})(lambda: 'sour')\n"
            (tmp_path / "fruit_bowl" / folder / f"{file}.py").write_text("" if file.startswith("_") else body)
    assert fruits.names() == ["apple", "citrus.lemon", "empty", "grape", "rotten"]
    assert "fruit_bowl.citrus" not in sys.modules
    assert fruits.get("citrus.lemon")() == "sour"
    with pytest.raises(UnknownName, match=r"Did you mean 'citrus.lemon'\?.*write fruit_bowl/citrus/lemn\.py"):
        fruits.get("citrus.lemn")


def test_settings_are_keyword_only_arguments_of_their_kind():
    def ripen(fruit: str, *, days: int = 1, warm: bool = False) -> tuple:
        return fruit, days, warm

    assert bound("shelf", ripen, {"days": 3})("pear") == ("pear", 3, False)
    for settings, said in (
        ({"day": 3}, r"shelf has no setting 'day'\. Did you mean 'days'\? Known: days, warm\."),
        ({"fruit": "x"}, "shelf has no setting 'fruit'"),
        ({"days": True}, r"shelf\.days is True; it must be a whole number"),
        ({"warm": 1}, r"shelf\.warm is 1; it must be true or false"),
    ):
        with pytest.raises(ConfigError, match=said):
            bound("shelf", ripen, settings)
    with pytest.raises(ConfigError, match=r"has no setting 'wieght'\. Did you mean 'weight'\? Known: weight, days"):
        bound("shelf", ripen, {"wieght": 1}, also=("weight",))
