"""The benchmark of a GRPO step: tracer1 beside TRL, the shared prefix beside the dense path. `tools/bench_grpo.py` runs it.

cases.py      what is measured: model shapes, pictures, prompts
children.py   one process per side, one step at a time; seconds and peak memory
ours.py       a whole step of tracer1        theirs.py   a whole step of TRL's GRPOTrainer
theirs_vllm.py  TRL's colocated vLLM on a CPU
passes.py     old, reference and update by the shared or the dense path
flops.py      the same passes counted, not computed
memory.py     the memory that log-probs need
runs.py       the commands                   report.py   tables, JSON, plots
"""
