"""The tables of docs/scaling.md: stage 1 with several models on several clusters. It only asks for estimates."""

from collections.abc import Sequence

from tracer1.errors import ConfigError
from tracer1.training.dry_run.cluster import estimates
from tracer1.training.dry_run.cluster_table import markdown
from tracer1.training.overrides import check_overrides

MARKS = ("<!-- tables -->", "<!-- /tables -->")
NODES = (1, 2, 8)  # of 8 GPUs
# what each model needs beside +experiment=stage1_gui: the reference in main memory, and vLLM's weights divided where they are large
MODELS = {
    "qwen3_vl_8b": ("model.reference_offload=true",),
    "qwen3_vl_32b": ("model.reference_offload=true", "engine.tensor_parallel_size=8", "engine.gpu_memory=0.4"),
}


def scaling_tables(models: Sequence[str], nodes: Sequence[int], more: Sequence[str] = ()) -> str:
    """A table for each model and number of machines, under a title with the settings that it is of."""
    parts = []
    for model in models:
        for count in nodes:
            overrides = (f"model={model}", f"trainer.num_nodes={count}", *MODELS.get(model, ()), *more)
            config = check_overrides("train", ["+experiment=stage1_gui", "+cluster=nodes", *overrides])
            title = f"**{count} x 8 GPUs**, `{' '.join(overrides)}`"
            parts += [title, "", *markdown(estimates(config), count), ""]
    return "\n".join(parts).rstrip()


def written_between_marks(document: str, tables: str) -> str:
    """The document with the tables in place of what was between its marks.

    Raises:
        ConfigError: it has no marks.
    """
    before, mark, rest = document.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (mark and end):
        raise ConfigError(f"The document has no lines {MARKS[0]} and {MARKS[1]} to put tables between.")
    return f"{before}{mark}\n{tables}\n{end}{after}"
