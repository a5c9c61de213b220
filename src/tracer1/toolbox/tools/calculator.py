"""calculator: the value of one arithmetic expression. It knows no names but those of arithmetic, and evaluates no other Python.

The expression is parsed and walked by us, never handed to `eval`. Sizes are capped so that nothing takes longer than a blink:
powers and products of whole numbers before they are worked out, lists, and the expression itself.
"""

import ast
import math
import operator
import re
from collections.abc import Callable
from typing import Any

from tracer1.syntax import syntax_tree
from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, ToolError, text, tool

MAX_LENGTH = 2_000  # characters of an expression
MAX_BITS = 12_000  # of a whole number: 3,600 digits
MAX_ARGUMENT = 1_000  # of factorial, comb and perm, whose work grows with it
SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**", "²": "**2", "³": "**3"})
THOUSANDS = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\w,])")
COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
HOSTILE = {"factorial", "comb", "perm"}
FUNCTIONS = {
    **{name: value for name, value in vars(math).items() if callable(value) and not name.startswith("_")},
    **{function.__name__: function for function in (abs, round, min, max, sum, int, float)},
}
CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau, "inf": math.inf}


@TOOLS.register("calculator")
@tool(
    "Works out one arithmetic expression.",
    {
        "expression": text(
            "a single Python expression, e.g. 'round(12.5 * 3 + math.sqrt(2), 2)'; the math module needs no import"
        )
    },
    returns="the value, as Python prints it",
)
def calculator(desk: Desk, expression: str) -> str:
    """Raises ToolError for what is not arithmetic, cannot be worked out, or is too large."""
    return calculated(expression)


def calculated(expression: str) -> str:
    """The value of an expression as text."""
    if len(expression) > MAX_LENGTH:
        raise ToolError(
            "refused", f"The expression has {len(expression):,} characters; at most {MAX_LENGTH:,} are worked out."
        )
    plain = _without_thousands(expression.strip().strip("`").strip().translate(SIGNS))
    try:
        tree = syntax_tree(plain, "eval")
    except ValueError as problem:
        kind = "refused" if "nest" in str(problem) or "recursion" in str(problem) else "bad_arguments"
        raise ToolError(kind, f"{expression!r:.80} is not one arithmetic expression: {problem}.") from problem
    try:
        return _text(_value(tree.body))
    except (RecursionError, MemoryError) as problem:
        raise ToolError("refused", "The expression is nested too deeply.") from problem
    except (ArithmeticError, ValueError, TypeError) as problem:
        raise ToolError("failed", f"{type(problem).__name__}: {problem}.") from problem


def _without_thousands(expression: str) -> str:
    """Without the commas of "29,000", where they cannot separate arguments: outside of calls and lists."""
    calls, depth, inside = [], 0, set()
    for place, sign in enumerate(expression):
        if sign in "([":
            depth += 1
            before = expression[:place].rstrip()
            if sign == "[" or (before and (before[-1].isalnum() or before[-1] in "_)")):
                calls.append(depth)
        elif sign in ")]":
            calls = [call for call in calls if call != depth]
            depth -= 1
        if calls:
            inside.add(place)
    return THOUSANDS.sub(
        lambda found: found.group() if found.start() in inside else found.group().replace(",", ""), expression
    )


def _value(node: ast.expr) -> Any:
    """The value of a part of the expression: a number, a truth value, or a list of them."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return _sized(number)
        case ast.BinOp():
            return _combined(node.op, _number(node.left), _number(node.right))
        case ast.UnaryOp(op=ast.USub()):
            return -_number(node.operand)
        case ast.UnaryOp(op=ast.UAdd()):
            return +_number(node.operand)
        case ast.Compare():
            return _compared(node)
        case ast.Call():
            return _called(node)
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="math"), attr=name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.List() | ast.Tuple():
            return [_number(item) for item in node.elts]
    raise ToolError(
        "bad_arguments", f"The calculator knows no {ast.unparse(node)!r:.60}: numbers, + - * / // % **, and math only."
    )


def _number(node: ast.expr) -> Any:
    value = _value(node)
    if isinstance(value, list):
        raise ToolError(
            "bad_arguments",
            f"{ast.unparse(node)!r:.60} is a list, where a number is wanted; is a comma a decimal point?",
        )
    return value


def _combined(sign: ast.operator, left: Any, right: Any) -> Any:
    """left (sign) right."""
    whole = isinstance(left, int) and isinstance(right, int)
    match sign:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return _sized(left * right)
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return left // right
        case ast.Mod():
            return left % right
        case ast.Pow():
            if whole and abs(left) > 1 and abs(right) * left.bit_length() > MAX_BITS:
                raise _too_large()
            return _sized(left**right)
    raise ToolError("bad_arguments", "The calculator's signs are + - * / // % ** (and ^ for a power).")


def _compared(node: ast.Compare) -> bool:
    """Whether a chain of comparisons holds."""
    values = [_number(item) for item in (node.left, *node.comparators)]
    tests = []
    for sign, left, right in zip(node.ops, values, values[1:], strict=False):
        if type(sign) not in COMPARISONS:
            raise ToolError("bad_arguments", "The calculator's comparisons are == != < <= > >=.")
        tests.append(COMPARISONS[type(sign)](left, right))
    return all(tests)


def _called(node: ast.Call) -> Any:
    """The value of a function of `math`, or of one of the few others."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="math"), attr=name) if name in FUNCTIONS:
            pass
        case _:
            raise ToolError("bad_arguments", f"The calculator has no function {ast.unparse(node.func)!r:.60}; it has those of math, "
                            "and abs, round, min, max, sum, int, float.")  # fmt: skip
    if [item.arg for item in node.keywords] not in ([], ["ndigits"]):
        raise ToolError("bad_arguments", f"The calculator takes the arguments of {name} by their order, without names.")
    arguments = [_value(item) for item in (*node.args, *(item.value for item in node.keywords))]
    flat = [number for item in arguments for number in (item if isinstance(item, list) else [item])]
    if name in HOSTILE and any(abs(number) > MAX_ARGUMENT for number in flat):
        raise ToolError("refused", f"{name} is worked out for numbers up to {MAX_ARGUMENT:,}.")
    if name == "round" and len(arguments) == 2 and abs(arguments[1]) > 300:
        raise ToolError("refused", "round takes at most 300 digits.")
    if name == "pow":
        left, right = arguments
        return _combined(ast.Pow(), left, right)
    if name in ("prod", "lcm") and sum(_bits(number) for number in flat) > MAX_BITS:
        raise _too_large()
    return _sized(FUNCTIONS[name](*arguments))


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 64


def _sized(value: Any) -> Any:
    """The value, unless it is a whole number of more than MAX_BITS."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise _too_large()
    return value


def _too_large() -> ToolError:
    return ToolError("refused", f"The result has more than {int(MAX_BITS * math.log10(2)):,} digits.")


def _text(value: Any) -> str:
    """As Python prints it."""
    if isinstance(value, complex):
        raise ToolError("failed", "The result is not a real number (a root of a negative number).")
    if isinstance(value, list) and len(value) != 1:
        raise ToolError(
            "bad_arguments", "The expression is a list of numbers; a comma between digits separates arguments here."
        )
    return str(value[0] if isinstance(value, list) else value)
