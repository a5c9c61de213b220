"""The planner: loading it, what it reads, its forward pass over whole groups, and the modules that train it.

Nothing here knows rewards, executors, data sets or where rollouts come from.
"""
