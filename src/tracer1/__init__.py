"""tracer1: train multimodal agents that think several steps ahead and act one step at a time.

Imports go down the floors only, and packages of one floor are strangers; `tests/test_layers.py` reads the imports and checks it.
It also holds the list of names: a new file or package takes its place there and here.

    floor  what                                           may import
    5      train.py  eval.py  agent.py                    everything; nobody imports them. The config is read here and nowhere below
    4      training/  benchmarks/  plan_act/              floors 0-3
           report/  scoring.py                            (training, benchmarks and report may use plan_act, report training)
    3      models/                                        floors 0-2, torch, transformers, lightning
    2      data/  rewards/  engines/  executors/          floors 0-1; each has its own heavy library, imported late
           environments/  toolbox/  sandbox/              (executors and environments may use toolbox and sandbox, toolbox sandbox,
           algorithms/  metrics/  tracking/               environments data and metrics too: tasks and the rules of their answers)
    1      actions.py  alignment.py  answers.py           floor 0 and each other, never in a circle; text and geometry, no torch
           drawing.py  needs.py  parsing.py  prompts.py   (chat/ is the client of OpenAI-compatible servers, for executors and tools)
           json_lines.py  syntax.py  chat/
    0      schema.py  interfaces.py  registry.py          the standard library and each other, never in a circle
           errors.py
"""
