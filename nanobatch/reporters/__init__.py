"""Observers for people and for pipelines: progress, plain lines, event files, standard output."""

from nanobatch.reporters.observers import Observers

__all__ = ["Observers"]
