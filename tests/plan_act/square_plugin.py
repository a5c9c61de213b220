"""The toy environment under a name, for `plugins=[square_plugin]`."""

import os
import time

from toy_square import SquareWorld

from tracer1.environments import ENVIRONMENTS


@ENVIRONMENTS.register("square")
class Square(SquareWorld):
    """With a speed and a sign for the tests of the command."""

    def __init__(self, pause_s: float = 0.0, sign: str | None = None) -> None:
        super().__init__()
        self._pause_s, self._sign = pause_s, sign

    def step(self, action):
        time.sleep(self._pause_s)
        seen = super().step(action)
        if self._sign and len(self.done) == 2:
            open(self._sign, "a").close()  # somebody waits for it
        return seen

    def close(self) -> None:
        super().close()
        if self._sign:
            open(self._sign + f"-closed-{os.getpid()}-{id(self)}", "a").close()
