"""Backends that search the web; see `backends.Search`. They know no tool."""
