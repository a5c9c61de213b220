"""Small tool-use tasks of our own: made from a seed with their files, solved by really calling the tools, and checked.

A family is a function that makes a `Task` (`task.py`); `record.py` runs its calls through the toolbox and gives its steps. Nothing
here knows about shards, planners or rewards.
"""
