"""How each task of `desktop` is solved, by our actions alone; what a planner would have to find out by looking."""

from tracer1.schema import Action


def keys(*names: str) -> list[Action]:
    """One key, or keys pressed together, after the other."""
    return [Action("hotkey", key=name) for name in names]


def typed(text: str) -> Action:
    return Action("type", content=text)


WAIT = Action("wait")
DONE, IMPOSSIBLE = Action("finished"), Action("call_user", content="This cannot be done here.")

SOLUTIONS: dict[str, list[Action]] = {
    "mousepad-write-note": [typed("Meet Ada at 10:30 <b>"), *keys("ctrl s"), DONE],
    "mousepad-replace-word": [
        *keys("ctrl a"),
        typed("One color.\nTwo color names: colorless, grey.\n"),
        *keys("ctrl s"),
        DONE,
    ],
    "mousepad-append-line": [*keys("ctrl end"), typed("4. bread\n"), *keys("ctrl s"), DONE],
    "mousepad-save-as": [*keys("ctrl shift s"), WAIT, *keys("ctrl a"), typed("~/Documents/copy.txt\n"), WAIT, DONE],
    "mousepad-insert-picture": [IMPOSSIBLE],
    "xterm-count-lines": [typed("wc -l < visitors.txt > count.txt\n"), DONE],
    "xterm-make-folders": [typed("mkdir -p project/src project/tests\n"), DONE],
    "xterm-protect-file": [typed("chmod 600 secret.txt\n"), DONE],
    "xterm-pair-headphones": [IMPOSSIBLE],
    "files-rename": [*keys("ctrl a", "f2"), WAIT, *keys("ctrl a"), typed("new.txt\n"), WAIT, DONE],
    "files-new-folder": [*keys("ctrl shift n"), WAIT, *keys("ctrl a"), typed("letters\n"), WAIT, DONE],
    "files-delete": [*keys("ctrl a", "shift delete"), WAIT, *keys("enter"), WAIT, DONE],
    "files-move": [
        typed("rep"), *keys("esc", "ctrl x", "ctrl l", "end"), typed("/archive\n"), WAIT, *keys("ctrl v"), WAIT, DONE
    ],
    "calc-fill-cell": [*keys("ctrl home", "down", "down", "right"), typed("12\n"), *keys("ctrl s"), WAIT, DONE],
    "calc-sum-formula": [
        *keys("ctrl home", "down", "down", "down", "down", "right"), typed("=SUM(B2:B4)\n"), *keys("ctrl s"), WAIT, DONE
    ],
}  # fmt: skip
