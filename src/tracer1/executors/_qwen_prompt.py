"""What Qwen3-VL is asked: one GUI tool, computer_use or mobile_use, as the function it was trained to call. It knows no server.

Names of tools, actions and arguments, and the tags around them, are Qwen's format; the words are our own. Places are 0 to 1000.
"""

import json
from typing import Any

from tracer1.chat import Message
from tracer1.schema import Step

_COORDINATE = {"type": "array", "description": "[x, y], each from 0 to 1000: x to the right, y down."}
_TIME = {"type": "number", "description": "Seconds, for wait and long_press."}
_STATUS = {"type": "string", "enum": ["success", "failure"], "description": "For terminate: how the task ended."}

_COMPUTER = {
    "key": "press `keys` together",
    "type": "type `text`",
    "mouse_move": "move the pointer to `coordinate`",
    "left_click": "click at `coordinate`",
    "left_click_drag": "drag from where the pointer is to `coordinate`; call mouse_move first",
    "right_click": "click the right button at `coordinate`",
    "middle_click": "click the middle button at `coordinate`",
    "double_click": "double-click at `coordinate`",
    "triple_click": "triple-click at `coordinate`",
    "scroll": "turn the wheel by `pixels` at `coordinate`: above 0 up, below 0 down",
    "hscroll": "the same to the sides: above 0 right, below 0 left",
    "wait": "wait `time` seconds",
    "terminate": "end the task with `status`",
    "answer": "answer a question with `text`",
}
_MOBILE = {
    "key": "send the key event `text`",
    "click": "tap `coordinate`",
    "long_press": "touch `coordinate` for `time` seconds",
    "swipe": "move a finger from `coordinate` to `coordinate2`",
    "type": "type `text`",
    "answer": "answer a question with `text`",
    "system_button": "press `button`",
    "open": "open the app called `text`",
    "wait": "wait `time` seconds",
    "terminate": "end the task with `status`",
}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "computer_use": {
        "keys": {"type": "array", "description": "For key: names of keys."},
        "text": {"type": "string", "description": "For type and answer."},
        "coordinate": _COORDINATE,
        "pixels": {"type": "number", "description": "For scroll and hscroll."},
        "time": _TIME,
        "status": _STATUS,
    },
    "mobile_use": {
        "coordinate": _COORDINATE,
        "coordinate2": {**_COORDINATE, "description": "For swipe: where it ends, like `coordinate`."},
        "text": {"type": "string", "description": "For key, type, open and answer."},
        "time": _TIME,
        "button": {"type": "string", "enum": ["Back", "Home", "Menu", "Enter"], "description": "For system_button."},
        "status": _STATUS,
    },
}

_SYSTEM = """# Tools

You operate a screen by calling a function. Its signature stands within <tools></tools>:
<tools>
{tool}
</tools>

Write a call as a JSON object within <tool_call></tool_call>:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>

# Answer

Thought: one sentence about what is to be done next, and where.
Then the call for it, and nothing after it."""


def _tool(name: str, actions: dict[str, str]) -> str:
    """The function's signature as JSON."""
    meanings = "\n".join(f"* `{action}`: {meaning}." for action, meaning in actions.items())
    action = {"type": "string", "enum": list(actions), "description": f"What to do:\n{meanings}"}
    parameters = {"type": "object", "properties": {"action": action, **_ARGUMENTS[name]}, "required": ["action"]}
    device = "a phone's touchscreen" if name == "mobile_use" else "a computer's mouse and keyboard"
    function = {
        "name": name,
        "description": f"Acts with {device}. The screen's resolution is 1000x1000; aim at the middle of what is meant.",
        "parameters": parameters,
    }
    return json.dumps({"type": "function", "function": function})


_PROMPTS = {
    "computer": _SYSTEM.format(tool=_tool("computer_use", _COMPUTER)),
    "mobile": _SYSTEM.format(tool=_tool("mobile_use", _MOBILE)),
}
TEMPLATES = ("auto", *_PROMPTS)


def messages(step: Step, instruction: str, template: str) -> tuple[Message, ...]:
    """System prompt, then instruction and screenshot.

    Args:
        step: Its platform decides where the template is `auto`: mobile, else computer.
        instruction: What is to be done now.
        template: See TEMPLATES.
    """
    if template == "auto":
        template = "mobile" if step.platform == "mobile" else "computer"
    return Message("system", (_PROMPTS[template],)), Message("user", (instruction, step.screenshot))
