"""Python text to trees: what is none, and many threads at once."""

import ast
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tracer1.syntax import literal, syntax_tree


@pytest.mark.parametrize("text", ["x = (", "\0", "(" * 5000 + ")" * 5000, "x = '\ud800'"])
def test_what_is_no_python_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011
        syntax_tree(text)


def test_a_tree_and_an_expression():
    assert ast.unparse(syntax_tree("x = '\\d'")) == "x = '\\\\d'"  # no warning about the escape
    assert isinstance(syntax_tree("1 + 1", "eval").body, ast.BinOp)
    assert syntax_tree("").body == []


@pytest.mark.parametrize(("given", "value"), [(" [1, 'a'] ", [1, "a"]), (ast.Constant(3), 3), ("-1.5", -1.5)])
def test_literals(given, value):
    assert literal(given) == value


@pytest.mark.parametrize("given", ["f()", "x", "", "1 +", None, ast.Name("x")])
def test_what_is_no_literal(given):
    with pytest.raises(ValueError, match="is no literal"):
        literal(given)


def test_many_threads_parse_at_once():
    text = "x = [" + "f(1, [2, {'a': (3, lambda y: y + 1)}]), " * 100 + "]"

    def deeper(levels: int) -> ast.AST:
        return deeper(levels - 1) if levels else syntax_tree(text)

    def let_others_run(phase: str, info: dict) -> None:
        time.sleep(0)

    threshold = gc.get_threshold()
    gc.callbacks.append(let_others_run)
    gc.set_threshold(50)  # with ast.parse itself this fails each time
    try:
        with ThreadPoolExecutor(8) as pool:
            trees = list(pool.map(deeper, range(16)))
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(let_others_run)
    assert len({ast.dump(tree) for tree in trees}) == 1
