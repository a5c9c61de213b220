"""A checkout of AndroidWorld in small: its module names, signatures and habits, with a phone that is a list of what it was told.

Compared by hand with google-research/android_world at d9c569f7, on whose own classes the adapter was run, too.
"""

import json
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlparse

import numpy as np

FILES = {
    "__init__.py": "",
    "constants.py": "STEP_NUMBER = 'step_number'\n",
    "registry.py": "from fakes_android_world import TaskRegistry\n",
    "suite_utils.py": "from fakes_android_world import create_suite\n",
    "env/__init__.py": "",
    "env/json_action.py": "from fakes_android_world import JSONAction\n",
    "env/adb_utils.py": (
        "from fakes_android_world import generate_swipe_command, issue_generic_request, press_enter_button, type_text\n"
    ),
    "env/env_launcher.py": "from fakes_android_world import load_and_setup_env\n",
    "agents/__init__.py": "",
    "agents/base_agent.py": "from fakes_android_world import AgentInteractionResult, EnvironmentInteractingAgent\n",
}


def build(root: Path) -> Path:
    """Writes the checkout."""
    for path, text in FILES.items():
        (root / "android_world" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "android_world" / path).write_text(text)
    return root


def forget(root: Path) -> None:
    """Takes the checkout out of this process again."""
    sys.path[:] = [path for path in sys.path if not path.startswith(str(root))]
    for name in [name for name in sys.modules if name.split(".")[0] == "android_world"]:
        del sys.modules[name]
    Env.connected.clear()
    Env.refuse = False


class JSONAction:
    """json_action.JSONAction."""

    TYPES = (
        "click", "double_tap", "scroll", "swipe", "input_text", "navigate_home", "navigate_back", "keyboard_enter", "open_app",
        "status", "wait", "long_press", "answer", "unknown",
    )  # fmt: skip

    def __init__(
        self, action_type=None, index=None, x=None, y=None, text=None, direction=None, goal_status=None, app_name=None,
        keycode=None, clear_text=None,
    ):  # fmt: skip
        if action_type not in self.TYPES:
            raise ValueError(f"Invalid action type: {action_type}")
        if index is not None and (x is not None or y is not None):
            raise ValueError("Either an index or a <x, y> should be provided.")
        if direction and direction not in ("left", "right", "down", "up"):
            raise ValueError(f"Invalid scroll direction: {direction}")
        if keycode is not None and not keycode.startswith("KEYCODE_"):
            raise ValueError(f"Invalid keycode: {keycode}")
        self.action_type, self.index, self.x, self.y, self.text = action_type, index, x, y, text
        self.direction, self.goal_status, self.app_name = direction, goal_status, app_name


class Env:
    """interface.AsyncAndroidEnv; `did` is what reached the device, fingers as (from, to)."""

    connected: ClassVar[list] = []
    refuse = False

    def __init__(self, size=(1080, 2400)):
        self.did, self.interaction_cache, self.closed, self.broken = [], "left from before", False, False
        self.logical_screen_size, self.orientation, self.elements, self.waited = size, 0, [], []
        self.pixels = np.zeros((2400, 1080, 3), np.uint8)
        self.pixels[:100, :50] = 255  # upper left corner
        Env.connected.append(self)

    @property
    def controller(self):
        return self

    def _check(self):
        if self.broken:
            raise RuntimeError("adb: device offline")

    def reset(self, go_home=False):
        self._check()
        self.interaction_cache = ""
        self.did.append("home" if go_home else "stay")

    def get_state(self, wait_to_stabilize=False):
        self._check()
        self.waited.append(wait_to_stabilize)
        return types.SimpleNamespace(pixels=self.pixels, forest=None, ui_elements=self.elements, auxiliaries=None)

    def execute_action(self, action):
        self._check()
        kind, (width, height) = action.action_type, self.logical_screen_size
        if kind == "answer":
            self.interaction_cache = action.text
        elif kind in ("click", "double_tap", "long_press"):
            self.did.append((kind, action.x, action.y))
        elif kind == "input_text":
            if action.x is not None and action.y is not None:
                self.did.append(("click", action.x, action.y))
            self.did += [f"text {action.text}", "enter"]
        elif kind == "scroll":
            box = (0, 0, width, height)
            if action.index:  # 0 counts as none
                element = self.elements[action.index].bbox_pixels
                box = (element.x_min, element.y_min, element.x_max, element.y_max)
            middle = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
            ends = {
                "down": (middle[0], box[1]), "up": (middle[0], box[3]), "right": (box[0], middle[1]), "left": (box[2], middle[1])
            }  # fmt: skip
            self.did.append((middle, ends[action.direction]))
        elif kind == "open_app":
            self.did.append(f"open {action.app_name}")
        elif kind != "status":
            self.did.append(kind)

    def close(self):
        self.closed = True


def load_and_setup_env(console_port=5554, emulator_setup=False, freeze_datetime=True, adb_path="adb", grpc_port=8554):
    if Env.refuse:
        raise RuntimeError("no emulator at port 8554")
    env = Env()
    env.ports = console_port, grpc_port
    return env


def type_text(text, env, timeout_sec=None):
    env.did += [
        f"text {line}" if line != "\n" else "enter" for line in text.replace("\n", "\0\n\0").split("\0") if line
    ]


def press_enter_button(env, timeout_sec=None):
    env.did.append("enter")


def generate_swipe_command(start_x, start_y, end_x, end_y, duration_ms=None):
    return ["shell", "input", "swipe", *map(str, (start_x, start_y, end_x, end_y)), str(duration_ms or "")]


def issue_generic_request(args, env, timeout_sec=None):
    env.did.append(" ".join(args))


class TaskEval:
    """task_eval.TaskEval; a task is solved once the device was told its `wanted`."""

    template, complexity, start_on_home_screen, wanted = "Say {word}.", 1.2, True, "text hello"

    def __init__(self, params):
        self.params, self.initialized, self.torn_down = params, False, 0

    @property
    def name(self):
        return type(self).__name__

    @property
    def goal(self):
        return self.template.format(**self.params)

    def initialize_task(self, env):
        env._check()
        if self.initialized:
            raise RuntimeError(f"{self.name}.initialize_task() is already called.")
        env.interaction_cache = ""
        env.task, self.initialized = self, True

    def is_successful(self, env):
        if not self.initialized:
            raise RuntimeError("initialize_task() must be called before is_successful().")
        return float(self.wanted in env.did)

    def tear_down(self, env):
        self.torn_down += 1
        self.initialized = False
        env._check()


class SaySomething(TaskEval):
    pass


class FindSomething(TaskEval):
    template, complexity, start_on_home_screen = "How many? ({word})", 0.35, False

    def is_successful(self, env):
        super().is_successful(env)
        return float(env.interaction_cache == "42")


class CannotBeSetUp(TaskEval):
    def initialize_task(self, env):
        super().initialize_task(env)
        raise ValueError("the app's data base is locked")


class CannotBeJudged(TaskEval):
    def is_successful(self, env):
        raise ValueError("no such table: playing_queue")


class TaskRegistry:
    """registry.TaskRegistry."""

    def get_registry(self, family):
        kinds = {kind.__name__: kind for kind in (SaySomething, FindSomething, CannotBeSetUp, CannotBeJudged)}
        return kinds if family == "android_world" else {"FindSomething": FindSomething}


def create_suite(task_registry, n_task_combinations=1, seed=None, tasks=None, use_identical_params=False, env=None):
    return {
        name: [kind({"word": f"hello {seed}", "seed": seed}) for _ in range(n_task_combinations)]
        for name, kind in sorted(task_registry.items())
    }


class AgentInteractionResult:
    def __init__(self, done, data):
        self.done, self.data = done, data


class EnvironmentInteractingAgent:
    """base_agent.EnvironmentInteractingAgent."""

    def __init__(self, env, name="", transition_pause=1.0):
        self.env, self.name, self.transition_pause, self._max_steps = env, name, transition_pause, None

    def set_max_steps(self, max_steps):
        self._max_steps = max_steps

    def reset(self, go_home=False):
        self.env.reset(go_home=go_home)


def run_episode(goal, agent, max_n_steps=10, start_on_home_screen=False):
    """episode_runner.run_episode: whether the agent is done, and lists by key."""
    agent.reset(start_on_home_screen)
    agent.set_max_steps(max_n_steps)
    output = []
    for number in range(max_n_steps):
        result = agent.step(goal)
        assert "step_number" not in result.data
        output.append(result.data | {"step_number": number})
        if result.done:
            break
    columns = {}
    for row in output:
        for key, value in row.items():
            columns.setdefault(key, []).append(value)
    return result.done, columns


class Server(ThreadingHTTPServer):
    """server/android_server.py: the same paths and parameters over a fake device."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.env, self.suite, self.seen, self.drawn = Env(), {}, [], None
        self.draw(2, 42, "android_world")
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def draw(self, combinations, seed, family):
        self.drawn = combinations, seed, family
        self.suite = create_suite(TaskRegistry().get_registry(family), combinations, seed)


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def _answer(self):
        server, url = self.server, urlparse(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        server.seen.append((self.command, url.path))
        task = server.suite[query["task_type"]][int(query["task_idx"])] if "task_type" in query else None
        routes = {
            ("POST", "/reset"): lambda: server.env.reset(query["go_home"] == "true"),
            ("GET", "/screenshot"): lambda: {"pixels": server.env.pixels[::100, ::100].tolist()},
            ("POST", "/execute_action"): lambda: server.env.execute_action(JSONAction(**body)),
            ("GET", "/suite/task_list"): lambda: {"task_list": list(server.suite)},
            ("GET", "/suite/reinitialize"): lambda: server.draw(
                int(query["n_task_combinations"]), int(query["seed"]), query["task_family"]
            ),
            ("POST", "/task/initialize"): lambda: task.initialize_task(server.env),
            ("POST", "/task/tear_down"): lambda: task.tear_down(server.env),
            ("GET", "/task/score"): lambda: {"score": task.is_successful(server.env)},
            ("GET", "/task/goal"): lambda: {"goal": task.goal},
        }
        try:
            code, answer = 200, routes[self.command, url.path]() or {"status": "success"}
        except Exception as error:
            code, answer = 500, {"detail": str(error)}
        payload = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)
