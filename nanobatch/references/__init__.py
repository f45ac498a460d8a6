"""Reference images: the pictures that a job starts from, as files or URLs, turned into what each provider takes.

Before a run each source is read once (`References.digest`), so that a bad one stops the run before anything is paid.
While it runs, `References.load` hands out the source's own bytes where a provider takes them, else a new encoding.
"""

from nanobatch.references.accepted import Accepted
from nanobatch.references.collection import References

__all__ = ["Accepted", "References"]
