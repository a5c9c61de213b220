"""Raw data sets, as their owners release them, to trajectories of steps: one file per data set, found by its name.

A converter says in which units its source can be read and reads one of them. It knows nothing about shards, workers, resuming or
splitting (`data/conversion.py`), and leaves to `data/drafts.py` what all sources have in common.
"""

from tracer1.registry import Registry

CONVERTERS = Registry("data set", "tracer1.data.converters")  # entries follow `interfaces.Converter`
