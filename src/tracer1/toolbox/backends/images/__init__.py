"""Backends that make pictures; see `backends.Images`. They know no tool."""
