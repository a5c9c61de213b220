"""Whether a call fits its tool: the tool's name, its arguments' names, their JSON Schemas. It knows nothing of files or of what tools do.

Names are compared exactly, then without case, hyphens, blanks and underscores ("Crop-Image" is `crop_image`). Values are read leniently
only where nothing is lost: "3" and 3.0 are the integer 3, "0.5" is a number, "[1, 2, 3, 4]" a box, "true" a boolean, and a number
given for a text is its JSON text. True is never a number, "3.5" never an integer. An optional argument that is null counts as left out.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tracer1.registry import nearest
from tracer1.toolbox.spec import Schema, Tool, ToolError

LONGEST = 1_000_000  # characters of a call's arguments as JSON
_SHOWN = 200  # characters of a message of the validator, which quotes the value


class Checker:
    """Checks calls of some tools.

    Args:
        tools: Name -> tool.
    """

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        from jsonschema import Draft202012Validator

        self.tools = tools
        self._validators = {name: Draft202012Validator(arguments_schema(tool)) for name, tool in tools.items()}

    def name(self, name: Any) -> str:
        """The tool that the caller means. Raises ToolError("unknown_tool") with the nearest name and what there is."""
        if isinstance(name, str) and (found := _meant(name, self.tools)):
            return found
        hint = nearest(_plain(name), [*self.tools]) if isinstance(name, str) else ""
        raise ToolError("unknown_tool", f"No tool {name!r:.80}.{hint} Available: {', '.join(self.tools)}.")

    def arguments(self, name: str, arguments: Any) -> dict[str, Any]:
        """The arguments as the tool takes them, in the order of its parameters.

        Args:
            name: As `name` returned it.
            arguments: Name -> value; None is none at all.

        Raises:
            ToolError: ("bad_arguments") Unknown, missing or ill-typed ones.
        """
        tool = self.tools[name]
        if not isinstance(arguments or {}, Mapping):
            raise _bad(tool, name, f"its arguments are {_kind(arguments)}, not names with values.")
        try:
            given = self._named(tool, name, arguments or {})
            self._check(tool, name, given)
        except RecursionError:
            raise _bad(tool, name, "its arguments are nested too deeply.") from None
        return {parameter: given[parameter] for parameter in tool.parameters if parameter in given}

    def _named(self, tool: Tool, name: str, arguments: Mapping[Any, Any]) -> dict[str, Any]:
        """Each value under the parameter's own name, read leniently; raises ToolError for a name that is none or given twice."""
        given: dict[str, Any] = {}
        for word, value in arguments.items():
            parameter = _meant(word, tool.parameters) if isinstance(word, str) else None
            if parameter is None:
                hint = nearest(_plain(str(word)), [*tool.parameters])
                raise _bad(tool, name, f"it has no argument {word!r:.80}.{hint}")
            if parameter in given:
                raise _bad(tool, name, f"argument {parameter!r} is given twice.")
            given[parameter] = value
        wanted = {parameter: fitting(value, tool.parameters[parameter]) for parameter, value in given.items()}
        return {
            parameter: value
            for parameter, value in wanted.items()
            if value is not None or not tool.parameters[parameter].get("optional") or _takes_null(tool, parameter)
        }

    def _check(self, tool: Tool, name: str, given: Mapping[str, Any]) -> None:
        missing = [parameter for parameter in tool.required if parameter not in given]
        if missing:
            raise _bad(
                tool, name, f"argument {missing[0]!r} is missing ({tool.parameters[missing[0]]['description']})."
            )
        try:
            size = len(json.dumps(given, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise _bad(tool, name, f"an argument is no plain JSON value ({error}).") from error
        if size > LONGEST:
            raise _bad(tool, name, f"its arguments have {size:,} characters; at most {LONGEST:,} are taken.")
        for error in self._validators[name].iter_errors(dict(given)):
            parameter = str(error.absolute_path[0]) if error.absolute_path else ""
            about = tool.parameters.get(parameter, {}).get("description", "")
            raise _bad(tool, name, f"argument {parameter!r} does not fit: {_short(error.message)} It is {about}.")


def arguments_schema(tool: Tool) -> dict[str, Any]:
    """The JSON Schema of the tool's arguments as one object, without what only we understand."""
    properties = {
        name: {key: value for key, value in schema.items() if key != "optional" and (key, value) != ("format", "path")}
        for name, schema in tool.parameters.items()
    }
    return {
        "type": "object",
        "properties": properties,
        "required": [*tool.required],
        "additionalProperties": False,
    }


def fitting(value: Any, schema: Schema) -> Any:
    """The value in the type that the schema wants where nothing is lost; otherwise as it is, for the validator to refuse."""
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if isinstance(value, tuple):
        value = list(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, str) and kinds and "string" not in kinds:
        return _read(value, kinds)
    if number and kinds == ("string",) and math.isfinite(value):
        return json.dumps(value)
    if isinstance(value, float) and kinds == ("integer",) and value.is_integer():
        return int(value)
    if isinstance(value, list) and "array" in kinds and isinstance(schema.get("items"), Mapping):
        return [fitting(item, schema["items"]) for item in value]
    return value


def _read(text: str, kinds: Iterable[str]) -> Any:
    """What a text says where its JSON has one of the types; the text itself otherwise."""
    try:
        value = json.loads(text, parse_constant=lambda word: word)
    except (ValueError, RecursionError):
        return text
    fits = {
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value),
        "boolean": isinstance(value, bool),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
        "null": value is None,
    }
    return value if any(fits.get(kind, False) for kind in kinds) else text


def _takes_null(tool: Tool, parameter: str) -> bool:
    return "null" in tool.parameters[parameter].get("type", ())


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _meant(name: str, known: Iterable[str]) -> str | None:
    """The known name that is written like it, exactly or but for case, hyphens and underscores; None where there is not one."""
    if name in known:
        return name
    close = [other for other in known if _plain(other).replace("_", "") == _plain(name).replace("_", "")]
    return close[0] if len(close) == 1 else None


def _bad(tool: Tool, name: str, what: str) -> ToolError:
    return ToolError("bad_arguments", f"{name}: {what} It takes {signature(name, tool)}.")


def signature(name: str, tool: Tool) -> str:
    """`segmentation(image_path, prompt=None)`."""
    words = [word + ("=None" if schema.get("optional") else "") for word, schema in tool.parameters.items()]
    return f"{name}({', '.join(words)})"


def _short(message: str) -> str:
    return (message if len(message) <= _SHOWN else f"{message[:_SHOWN]} ...") + "."


def _kind(value: Any) -> str:
    return {str: "a text", list: "a list"}.get(type(value), f"a {type(value).__name__}")
