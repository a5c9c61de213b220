"""What UI-TARS is asked: its action space in the syntax it was trained on, around it words of our own. It knows no server.

    start_box      UI-TARS-7B and 72B     click(start_box='<|box_start|>(x1,y1)<|box_end|>')
    start_box_1_5  UI-TARS-1.5-7B         the same with a space, and finished(content='xxx')
    point          the later models       click(point='<point>x1 y1</point>')

The first two scroll on a phone by a path and by a direction; none of them knows how to wait there, which AndroidControl needs:
it is added.
"""

from tracer1.chat import Message
from tracer1.errors import UnknownName
from tracer1.registry import nearest
from tracer1.schema import Step

_PLACES = {  # syntax -> (arguments of one place, arguments of two)
    "start_box": (
        "start_box='<|box_start|>(x1,y1)<|box_end|>'",
        "start_box='<|box_start|>(x1,y1)<|box_end|>', end_box='<|box_start|>(x3,y3)<|box_end|>'",
    ),
    "start_box_1_5": (
        "start_box='<|box_start|>(x1, y1)<|box_end|>'",
        "start_box='<|box_start|>(x1, y1)<|box_end|>', end_box='<|box_start|>(x3, y3)<|box_end|>'",
    ),
    "point": ("point='<point>x1 y1</point>'", "start_point='<point>x1 y1</point>', end_point='<point>x2 y2</point>'"),
}
_ESCAPES = r" # Write \', \" and \n for quotes and line breaks."
_SUBMIT = r' # A last "\n" submits it.'
_SIDE = "direction='down or up or right or left'"

_PROMPT = """You operate a screen for somebody. You are given a task and a screenshot of what the screen shows now. Give the next \
action for the task.

## Output Format
{form}

## Action Space

{actions}

{note}## User Instruction
{instruction}"""

_THOUGHTFUL = "```\nThought: ...\nAction: ...\n```"
_NOTE = """## Note
- Use English in `Thought` part.
- Let the `Thought` part end with one sentence that names the next action and its target.

"""


def _computer(syntax: str, one: str, two: str) -> list[str]:
    first = syntax == "start_box"
    return [
        *(f"{name}({one})" for name in ("click", "left_double", "right_single")),
        f"drag({two})",
        "hotkey(key='ctrl c') # At most 3 keys, lower case, with spaces between."
        if syntax == "point"
        else "hotkey(key='')",
        f"type(content='xxx'){_ESCAPES}{_SUBMIT[2:]}" if syntax == "point" else f"type(content=''){_SUBMIT}",
        f"scroll({one}, {_SIDE}) # Shows more on that side.",
        "wait() # Looks again some seconds later.",
        *(["finished()", "call_user() # Asks for help, or gives the task up."] if first else []),
        *([] if first else [f"finished(content='xxx'){_ESCAPES}"]),
    ]


def _mobile(syntax: str, one: str, two: str) -> list[str]:
    first = syntax == "start_box"
    return [
        f"click({one})",
        f"long_press({one}, time='')" if first else f"long_press({one})",
        f"type(content=''){'' if first else _SUBMIT}",
        f"scroll({two})" if first else f"scroll({one}, {_SIDE})",
        "open_app(app_name='')",
        *([] if first else [f"drag({two})"]),
        "press_home()",
        "press_back()",
        "wait() # Looks again some seconds later.",
        "finished(content='')" if first else f"finished(content='xxx'){_ESCAPES}",
    ]


def _web(syntax: str, one: str, two: str) -> list[str]:
    """Of the records of Mind2Web that UI-TARS was trained on."""
    return [
        f"click({one})",
        f"select({one}) # Opens a list, or picks from it.",
        f"type(content='', {one}) # Clicks the box, then types.",
    ]


def _grounding(syntax: str, one: str, two: str) -> list[str]:
    return [f"click({one})"]


_TEMPLATES = {"computer": _computer, "mobile": _mobile, "web": _web, "grounding": _grounding}
_THOUGHTLESS = ("web", "grounding")
SYNTAXES, TEMPLATES = tuple(_PLACES), ("auto", *_TEMPLATES)


def check(syntax: str, template: str) -> None:
    """Raises UnknownName for a syntax or a template that there is not."""
    for what, name, known in (("syntax", syntax, SYNTAXES), ("template", template, TEMPLATES)):
        if name not in known:
            raise UnknownName(
                f"UI-TARS has no {what} {name!r}.{nearest(str(name), list(known))} Known: {', '.join(known)}."
            )


def messages(step: Step, instruction: str, syntax: str, template: str) -> tuple[Message, ...]:
    """The prompt, and the screenshot in a turn of its own, as UI-TARS is used to.

    Args:
        step: Its platform decides where the template is `auto`: mobile, else computer.
        instruction: What is to be done now, as UI-TARS shall read it.
        syntax, template: See SYNTAXES and TEMPLATES.
    """
    if template == "auto":
        template = "mobile" if step.platform == "mobile" else "computer"
    thoughtless = template in _THOUGHTLESS
    text = _PROMPT.format(
        form="\nAction: ...\n" if thoughtless else _THOUGHTFUL,
        actions="\n".join(_TEMPLATES[template](syntax, *_PLACES[syntax])),
        note="" if thoughtless else f"\n{_NOTE}",
        instruction=instruction,
    )
    return Message("user", (text,)), Message("user", (step.screenshot,))
