"""Plan and act: look, plan several steps, execute the first, look again; many episodes side by side. It knows no training.

`loop.py` is one episode, `side_by_side.py` many; `planner.py` says who plans; `record.py`, `reading.py` and `replay.py` are the file
of a run, `traces.py` its way to MLflow, `view.py` and `page.py` how it is shown.
"""
