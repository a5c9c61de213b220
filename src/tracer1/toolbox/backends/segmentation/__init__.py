"""Backends that outline things in pictures; see `backends.Segmentation`. They know no tool."""
