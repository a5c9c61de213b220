"""Numbers that others have published for the three offline benchmarks, to stand beside ours. None of them was measured here.

TraceR1's Table 2 does not say under which rule, on which steps of AndroidControl or on which split of GUI-Odyssey its numbers stand;
its UI-TARS rows are UI-TARS's own.
"""

from tracer1.benchmarks._result import Published

TABLE_2 = "TraceR1 Table 2"
_AGENTS = (
    "GPT-4o", "Claude-computer-use", "OmniParser-v2.0 w/ GPT-4o", "UI-TARS-7B w/ GPT-4.1", "OS-Atlas-4B", "OS-Atlas-7B",
    "QwenVL2.5-3B", "QwenVL2.5-7B", "GUI-R1-3B", "GUI-R1-7B", "InfiGUI-R1-3B", "UI-TARS-2B", "UI-TARS-7B", "UI-TARS-32B",
    "UI-TARS-7B w/ TraceR1",
)  # fmt: skip


def _table(*percent: float | None) -> tuple[Published, ...]:
    """One column of the table, in the order of the agents; None where it has no number."""
    rows = zip(_AGENTS, percent, strict=True)
    return tuple(Published(agent, round(value / 100, 4), TABLE_2) for agent, value in rows if value is not None)


ANDROID_CONTROL_HIGH = (
    *_table(21.2, 12.5, 58.8, 74.8, 22.7, 29.8, 38.9, 47.1, 46.5, 51.7, 71.1, 68.9, 72.5, 74.7, 75.3),
    Published("UI-TARS-7B", 0.608, "AgentCPM-GUI", "(run again with its own evaluator)"),
)
GUI_ODYSSEY = (
    *_table(5.4, 3.1, 62.0, 89.1, 56.4, 62.0, 50.9, 54.5, 41.3, 38.8, None, 83.4, 87.0, 88.6, 88.2),
    Published("UI-TARS-7B", 0.946, "UI-TARS", "type_match"),
    Published("UI-TARS-7B", 0.901, "UI-TARS", "grounding"),
    Published("UI-TARS-7B", 0.573, "AgentCPM-GUI", "(run again with its own evaluator)"),
)
MIND2WEB = (
    *_table(4.3, 52.5, 41.3, 66.0, None, None, None, None, None, None, None, 53.1, 63.1, 64.7, 65.3),
    Published("UI-TARS-7B", 0.671, "UI-TARS", "step_success.test_task"),
    Published("UI-TARS-7B", 0.617, "UI-TARS", "step_success.test_website"),
    Published("UI-TARS-7B", 0.605, "UI-TARS", "step_success.test_domain"),
)
