"""A checkout of OSWorld in small: its module names, signatures and habits, with a machine that is a few attributes.

The signatures are those of `desktop-env` 1.0.2, compared with `inspect.signature` by hand; what the classes do is written here from
how they behave: the reward that is always 0, the rewriting of `<`, set-ups that are given up in silence, "FAIL" as the last action.
"""

import io
import json
import re
from pathlib import Path
from typing import ClassVar

from PIL import Image

OURS = ("desktop_env", "odd_annotation_only", "absent_table_library", "absent_spreadsheet_library")  # modules to forget
SIGNATURES = {  # of desktop-env 1.0.2
    "__init__": (
        "(self, provider_name: str = 'vmware', region: str = None, path_to_vm: str = None, snapshot_name: str = 'init_state', "
        "action_space: str = 'pyautogui', cache_dir: str = 'cache', screen_size: Tuple[int] = (1920, 1080), "
        "headless: bool = False, require_a11y_tree: bool = True, require_terminal: bool = False, os_type: str = 'Ubuntu', "
        "enable_proxy: bool = False, client_password: str = '')"
    ),
    "reset": "(self, task_config: Optional[Dict[str, Any]] = None, seed=None, options=None) -> Dict[str, Any]",
    "step": "(self, action, pause=2)",
    "evaluate": "(self)",
    "close": "(self)",
    "render": "(self, mode='rgb_array')",
}
MACHINE = '''"""The class that OSWorld calls DesktopEnv."""
from __future__ import annotations
import time
from typing import Any, Dict, Optional, Tuple
from desktop_env.evaluators import getters, metrics
from fakes_osworld import Machine


class DesktopEnv(Machine):
    def __init__(self, provider_name: str = "vmware", region: str = None, path_to_vm: str = None,
                 snapshot_name: str = "init_state", action_space: str = "pyautogui", cache_dir: str = "cache",
                 screen_size: Tuple[int] = (1920, 1080), headless: bool = False, require_a11y_tree: bool = True,
                 require_terminal: bool = False, os_type: str = "Ubuntu", enable_proxy: bool = False,
                 client_password: str = ""):
        self.modules = metrics, getters
        self.boot(locals())

    def reset(self, task_config: Optional[Dict[str, Any]] = None, seed=None, options=None) -> Dict[str, Any]:
        return self.begin(task_config)

    def step(self, action, pause=2):
        return self.act(action, pause)

    def evaluate(self):
        return self.judge()

    def close(self):
        self.closed = True

    def render(self, mode="rgb_array"):
        return self.picture()

    def _get_obs(self):
        return {"screenshot": self.picture(), "accessibility_tree": None, "terminal": None, "instruction": self.instruction}
'''
METRICS = """from .general import exact_match
from .table import compare_table
from .slow import never_returns, raises


def infeasible():
    pass
"""
GENERAL = """import json
from typing import Dict, List
from odd_annotation_only import Tag


def exact_match(result, rules: Dict[str, Tag]) -> float:
    return float(result == rules["expected"])
"""
TABLE = """import absent_table_library as tables
from .utils import cells


def compare_table(result, expected=None, **options) -> float:
    try:
        return float(cells(result) == cells(expected))
    except Exception:
        return 0.0
"""
UTILS = """import absent_spreadsheet_library


def cells(path):
    return absent_spreadsheet_library.load(path)
"""
SLOW = """import time


def never_returns(result, expected=None):
    while True:
        time.sleep(0.05)


def raises(result, expected=None):
    raise RuntimeError("the file is no document")
"""
GETTERS = """def get_vm_file(env, config):
    if env.dead:
        return None
    return env.files.get(config["path"])


def get_rule(env, config):
    return config["rules"]
"""
STAND_INS = '''"""What the heavy libraries are replaced by: importable, and of no use."""
import importlib.abc
import importlib.machinery
import sys

NAMES = {"odd_annotation_only", "absent_table_library", "absent_spreadsheet_library"}


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name in NAMES else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        def anything(name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

        module.__getattr__ = anything


if not any(type(finder).__name__ == "Finder" for finder in sys.meta_path):
    sys.meta_path.append(Finder())
'''


def png(size=(1920, 1080)) -> bytes:
    """A screenshot."""
    out = io.BytesIO()
    Image.new("RGB", size, "navy").save(out, "PNG")
    return out.getvalue()


def task(number: int, func="exact_match", **more) -> dict:
    """A task in OSWorld's format."""
    return {
        "id": f"task-{number}",
        "snapshot": "os",
        "instruction": f"Write hello into note {number}.",
        "source": "hand-written",
        "config": [{"type": "launch", "parameters": {"command": ["mousepad"]}}],
        "trajectory": "trajectories/",
        "related_apps": ["os"],
        "evaluator": {
            "func": func,
            "result": {"type": "vm_file", "path": "/home/user/note.txt", "dest": "note.txt"},
            "expected": {"type": "rule", "rules": {"expected": "hello"}},
        },
        "proxy": False,
        **more,
    }


def build(root: Path, tasks: list[dict]) -> Path:
    """Writes the checkout: `desktop_env` and `evaluation_examples`."""
    package = root / "desktop_env"
    for path, text in {
        "__init__.py": STAND_INS,
        "desktop_env.py": MACHINE,
        "evaluators/__init__.py": "",
        "evaluators/metrics/__init__.py": METRICS,
        "evaluators/metrics/general.py": GENERAL,
        "evaluators/metrics/table.py": TABLE,
        "evaluators/metrics/utils.py": UTILS,
        "evaluators/metrics/slow.py": SLOW,
        "evaluators/getters/__init__.py": GETTERS,
    }.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text)
    examples = root / "evaluation_examples"
    (examples / "examples" / "os").mkdir(parents=True)
    for one in tasks:
        (examples / "examples" / "os" / f"{one['id']}.json").write_text(json.dumps(one))
    (examples / "test_all.json").write_text(json.dumps({"os": [one["id"] for one in tasks]}))
    return root


def rewritten(command: str) -> str:
    """What `DesktopEnv.step` makes of a command before it runs it."""
    command = re.sub(
        r'pyautogui\.press\(["\'](?:<|\\u003c)["\']\)', lambda match: 'pyautogui.hotkey("shift", ",")', command
    )

    def typewrite(match):
        quote, text = match.group(1), match.group(2).encode("utf-8").decode("unicode_escape")
        if "<" not in text:
            return match.group(0)
        pieces = [f"pyautogui.typewrite({quote}{piece}{quote})" if piece else "" for piece in text.split("<")]
        return '; pyautogui.hotkey("shift", ","); '.join(pieces).strip("; ")

    return re.sub(r'pyautogui\.typewrite\((["\'])(.*?)\1\)', typewrite, command)


class Machine:
    """What is behind the signatures."""

    started: ClassVar[list] = []  # every machine of a test

    def boot(self, arguments):
        if arguments["provider_name"] not in ("vmware", "docker", "aws"):
            raise ValueError(f"Invalid provider name: {arguments['provider_name']}")
        if arguments["region"] == "nowhere":
            raise RuntimeError("no host answers")
        self.arguments = {key: value for key, value in arguments.items() if key not in ("self", "__class__")}
        self.is_environment_used = False
        self.instruction, self.dead, self.closed, self.setup_answers = None, False, False, True
        self.action_history, self.commands, self.files, self.evaluated = [], [], {}, 0
        Machine.started.append(self)

    def picture(self):
        return None if self.dead else png()

    def begin(self, config):
        self.action_history.clear()
        self.instruction, self.evaluator = config["instruction"], config["evaluator"]
        if config.get("fails"):
            raise Exception("Setup step 1 failed: _launch_setup - no such program")
        self.is_environment_used = bool(config["config"]) and self.setup_answers and not config.get("silent")
        return self._get_obs()

    def act(self, action, pause):
        self.action_history.append(action)
        self.pause = pause
        done = action in ("DONE", "FAIL")
        if action not in ("WAIT", "DONE", "FAIL"):
            self.commands.append(rewritten(action))
            if "hello" in action:
                self.files["/home/user/note.txt"] = "hello"
        return self._get_obs(), 0, done, {}

    def judge(self):
        self.evaluated += 1
        failed = bool(self.action_history) and self.action_history[-1] == "FAIL"
        if self.evaluator["func"] == "infeasible":
            return int(failed)
        if failed:
            return 0
        metrics, getters = self.modules
        sides = {}
        for side in ("result", "expected"):
            config = self.evaluator[side]
            sides[side] = getattr(getters, f"get_{config['type']}")(self, config)
        return getattr(metrics, self.evaluator["func"])(*sides.values())
