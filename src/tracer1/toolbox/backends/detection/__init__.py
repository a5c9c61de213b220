"""Backends that find things in pictures; see `backends.Detection`. They know no tool."""
