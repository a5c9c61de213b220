"""MM-Traj in small, in the owner's two layouts: conversations of thought and code, and what the code printed."""

from typing import Any

SYSTEM = """You are an expert assistant who writes code.

- visualizer: A tool that answers questions about images.
    Takes inputs: {'question': {'description': 'asked', 'type': 'text'}, 'image_path': {'description': "a path's text", 'type': 'text'}}

- inspect_file_as_text: Reads a file.
    Takes inputs: {'question': {'description': '[Optional]', 'type': 'text'}, 'file_path': {'description': 'the path', 'type': 'text'}}

- barcode: Reads a bar code.
    Takes inputs: {'image_path': {'description': 'a path', 'type': 'string'}, 'kind': {'description': 'its kind', 'type': 'string'}}

- final_answer: Provides the answer.
    Takes inputs: {'answer': {'type': 'text', 'description': 'the answer'}}

Now begin!
"""
IMAGE = "data/open_llava_next/coco/train2017/000000000001.jpg"
ATTACHED = "data/tongagent/coco/train2017/000000000001.jpg"

NO_CODE = "Error in code parsing: \nThe code blob you used is invalid: make sure to provide correct code"
RETRY = (
    "\nNow let's retry: take care not to repeat previous errors! If you have retried several times, try another way.\n"
)
LIMIT = "Code execution failed due to the following error:\nError code: 429 - {'error': {'code': '429'}}"


def say(code: str | None, thought: str = "I will do it.") -> str:
    """An answer of the agent's."""
    return f"Thought: {thought}\n\nCode:\n```py\n{code}\n```" if code is not None else thought


def observation(step: int, text: str) -> str:
    return f"[OUTPUT OF STEP {step}] Observation:\n{text}\n"


def error(step: int, text: str) -> str:
    return f"[OUTPUT OF STEP {step}] Error: {text}{RETRY}"


def record(name: str, turns: list[str], **fields: Any) -> dict[str, Any]:
    """A record; `turns` are the agent's answers and the replies in turn."""
    question = fields.pop("question", "Task: How many apples are there?\n")
    layout = fields.pop("layout", ("from", "value"))
    said = [("system", SYSTEM), ("user", question)]
    said += [(("assistant", "user")[n % 2], text) for n, text in enumerate(turns)]
    return {
        "id": name,
        "image": {},
        "correct": "yes",
        "answer": "3",
        "conversations": [dict(zip(layout, turn, strict=True)) for turn in said],
        "traj_verification": "'''{}'''",
        **fields,
    }


def counting(name: str = "abc", **fields: Any) -> dict[str, Any]:
    """A trajectory of three steps: a tool, plain Python, the answer."""
    question = f"Picture 1: <img>{IMAGE}</img>\nTask: How many apples are there?\n Attachment: {ATTACHED};  "
    turns = [
        say(
            f'path = "{ATTACHED}"\nseen = visualizer("What is there?", image_path=path)\nprint(seen)',
            "To see. I'll look.",
        ),
        observation(0, "Two red apples\nand a   green one."),
        say("total = 2 + 1\nprint(total)", "Now I know it. I can add them up, e.g. 2 and 1."),
        observation(1, "3"),
        say("final_answer(total)", "**Thought:** Done."),
    ]
    return record(name, turns, **{"image": IMAGE, "question": question, **fields})
