"""Engines sample responses. They know nothing about rewards, plans or steps."""

from tracer1.registry import Registry

ENGINES = Registry("engine", "tracer1.engines")
