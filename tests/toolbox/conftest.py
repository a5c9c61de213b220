"""Toolboxes made of toys."""

import pytest
from toy_server import ToyServer
from toys import Counting, ToySandbox, toy_bug, toy_crop, toy_dead, toy_interpreter, toy_look, toy_set

from tracer1.toolbox import TOOLS
from tracer1.toolbox.toolbox import Toolbox


@pytest.fixture
def counting(monkeypatch) -> Counting:
    """Counts what the toys `toy_add` and `toy_shout` did."""
    counting = Counting()
    toys = {
        "toy_add": counting.add(),
        "toy_shout": counting.shout(),
        "toy_crop": toy_crop,
        "toy_look": toy_look,
        "toy_dead": toy_dead,
        "toy_bug": toy_bug,
        "toy_set": toy_set,
        "python_interpreter": toy_interpreter,
    }
    for name, toy in toys.items():
        monkeypatch.setitem(TOOLS._table, name, toy)
    return counting


TOYS = ["toy_add", "toy_shout", "toy_crop", "toy_look", "toy_dead", "toy_bug", "toy_set", "python_interpreter"]


@pytest.fixture
def box(counting) -> Toolbox:
    """The toys, with a sandbox, without anything else."""
    return Toolbox(TOYS, sandbox=ToySandbox())


@pytest.fixture
def serve():
    """`serve(answers, certificate=None)` starts a ToyServer that ends with the test."""
    servers: list[ToyServer] = []

    def start(*settings) -> ToyServer:
        servers.append(ToyServer(*settings))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def picture(draw_screen) -> bytes:
    """A PNG of 96 x 64 pixels with a red square at (40, 20)."""
    return draw_screen()
