"""Detectors of faces; see `backends.Faces`. They know no tool."""
