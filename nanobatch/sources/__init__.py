"""Sources turn the user's prompt files into prompts: one file per format, checked whole, read as a stream.

Adding a format: a file with a class that satisfies `Source`, and its extension in `registry.py`.
"""

from nanobatch.sources.base import Problem, Row, Source
from nanobatch.sources.files import Checked, PromptFiles
from nanobatch.sources.rows import ReadOptions

__all__ = ["Checked", "Problem", "PromptFiles", "ReadOptions", "Row", "Source"]
