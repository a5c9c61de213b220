"""An executor's server in a process of its own, `toy_executor.py PORT DIES_AFTER`: kills itself at that answer (0: never)."""

import itertools
import json
import os
import signal
import sys
import threading
import zlib
from collections.abc import Mapping
from typing import Any

from tracer1.training.bench.chat_server import ChatServer

_answers = itertools.count(1)


def answer(body: Mapping[str, Any]) -> str:
    """A click whose place depends on the request alone."""
    if next(_answers) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    place = zlib.crc32(json.dumps(body["messages"]).encode()) % 60
    return f"Thought: there.\nAction: click(start_box='({place},{place})')"


if __name__ == "__main__":
    ChatServer(answer).start(int(sys.argv[1]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()
