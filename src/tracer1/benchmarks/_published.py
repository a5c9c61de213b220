"""Numbers that others have published for the benchmarks, to stand beside ours. None of them was measured here.

TraceR1's Table 2 does not say under which rule, on which steps of AndroidControl or on which split of GUI-Odyssey its numbers stand;
its UI-TARS rows are UI-TARS's own. Table 1 does not say at which commit, on how many tasks and with how many steps OSWorld was run;
Table 3 neither on which part of GAIA nor under which of GTA's two rules. All rows but TraceR1's own are mainly from the agents' own
reports, says the paper. MiniWoB++ and the desktop of this repository have none: nobody else's number is theirs.
"""

from collections.abc import Iterable

from tracer1.benchmarks._result import Published

TABLE_2 = "TraceR1 Table 2"
_AGENTS = (
    "GPT-4o", "Claude-computer-use", "OmniParser-v2.0 w/ GPT-4o", "UI-TARS-7B w/ GPT-4.1", "OS-Atlas-4B", "OS-Atlas-7B",
    "QwenVL2.5-3B", "QwenVL2.5-7B", "GUI-R1-3B", "GUI-R1-7B", "InfiGUI-R1-3B", "UI-TARS-2B", "UI-TARS-7B", "UI-TARS-32B",
    "UI-TARS-7B w/ TraceR1",
)  # fmt: skip


def _table(*percent: float | None) -> tuple[Published, ...]:
    """One column of Table 2, in the order of the agents; None where it has no number."""
    return _rows(TABLE_2, zip(_AGENTS, percent, strict=True))


def _rows(source: str, percent: Iterable[tuple[str, float | None]], what: str = "") -> tuple[Published, ...]:
    """Agents and their percentages; None where there is no number."""
    return tuple(Published(agent, round(value / 100, 4), source, what) for agent, value in percent if value is not None)


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

TABLE_1 = "TraceR1 Table 1"
_ONLINE = {  # agent: AndroidWorld, OSWorld-Verified; success in percent
    "o3": (None, 23.0),
    "OpenAI CUA-o3": (52.5, 38.1),
    "Seed1.5-VL": (62.1, 36.7),
    "Claude 4 Sonnet": (None, 41.4),
    "Claude 4.5 Sonnet": (None, 62.9),
    "UI-TARS-1.5": (64.2, 41.8),
    "UI-TARS-2": (73.3, 53.1),
    "Jedi-7B w/ o3": (None, 50.2),
    "Agent S2 w/ GPT-5": (None, 48.8),
    "Agent S2 w/ Claude 3.7 Sonnet": (54.3, None),
    "Agent S2.5 w/ o3": (None, 56.0),
    "GTA1-7B w/ o3": (None, 53.1),
    "GTA1-32B w/ o3": (None, 55.4),
    "UI-TARS-1.5-7B w/ GPT-4.1": (None, 31.6),
    "Qwen3-VL-32B-Thinking w/ GPT-4.1": (None, 43.2),
    "Qwen2.5-VL-72B": (35.0, 5.0),
    "UI-TARS-1.5-7B": (None, 27.4),
    "UI-TARS-72B-DPO": (None, 27.1),
    "OpenCUA-7B": (None, 26.6),
    "OpenCUA-32B": (None, 34.8),
    "Qwen3-VL-8B-Thinking": (50.0, 33.9),
    "Qwen3-VL-32B-Thinking": (61.4, 35.6),
    "Qwen3-VL-235B-A22B-Thinking": (None, 38.1),
    "UI-TARS-1.5-7B w/ TraceR1": (None, 30.9),
    "Qwen3-VL-32B-Thinking w/ TraceR1": (64.8, 41.2),
}
ANDROID_WORLD = _rows(TABLE_1, ((agent, values[0]) for agent, values in _ONLINE.items()))
OSWORLD = _rows(TABLE_1, ((agent, values[1]) for agent, values in _ONLINE.items()))

TABLE_3 = "TraceR1 Table 3"
_TOOLS = {  # agent: GAIA's AnsAcc, of levels 1, 2 and 3; GTA's AnsAcc, ToolAcc, CodeExec
    "GPT-4o": (33.4, 47.1, 31.4, 11.5, 57.1, 63.4, 95.1),
    "GPT-4.1": (50.3, 58.5, 50.0, 34.6, 58.4, 65.1, 94.3),
    "GPT-5": (59.3, 67.9, 58.1, 46.1, 60.9, 68.3, 98.7),
    "LLaVA-NeXT-8B": (3.6, 9.4, 1.2, 0.0, 14.1, 14.9, 25.1),
    "DeepSeek-VL2": (14.2, 19.3, 12.4, 10.3, 23.2, 49.4, 57.2),
    "Qwen2.5-VL-7B": (10.3, 16.9, 9.3, 0.0, 44.2, 50.6, 69.1),
    "Qwen2.5-VL-14B": (15.2, 24.5, 11.6, 3.8, 46.8, 55.4, 69.8),
    "Qwen3-VL-8B": (31.5, 46.2, 27.6, 16.3, 49.2, 56.8, 74.2),
    "T3-Agent": (16.9, 26.4, 15.1, 3.8, 53.8, 64.6, 84.3),
    "TraceR1 (8B)": (40.2, 55.9, 35.8, 24.4, 56.7, 65.7, 87.4),
}


def _tools(*columns: tuple[int, str]) -> tuple[Published, ...]:
    """Columns of Table 3, each with what it is where it is not the headline."""
    found = [_rows(TABLE_3, ((agent, v[column]) for agent, v in _TOOLS.items()), what) for column, what in columns]
    return tuple(row for rows in found for row in rows)


GAIA = _tools((0, ""), (1, "level 1"), (2, "level 2"), (3, "level 3"))
GTA = _tools((4, ""), (5, "ToolAcc"), (6, "CodeExec"))
