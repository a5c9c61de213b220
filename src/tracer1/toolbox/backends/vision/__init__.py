"""Backends that answer questions about pictures; see `backends.Vision`. They know no tool."""
