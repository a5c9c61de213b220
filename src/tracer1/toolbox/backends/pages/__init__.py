"""Backends that read web pages; see `backends.Pages`. They know no tool."""
