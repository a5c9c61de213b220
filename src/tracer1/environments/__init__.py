"""Places where an agent acts. Each file registers one environment under its own name."""

from tracer1.registry import Registry

ENVIRONMENTS = Registry("environment", "tracer1.environments")
