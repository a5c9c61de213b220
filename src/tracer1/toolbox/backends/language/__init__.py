"""Backends that answer in text; see `backends.Language`. They know no tool."""
