"""The report: one offline HTML page of what was found, with its pictures, tables, methods and settings."""

from superpose.report.document import page, write
from superpose.report.stimuli import Passage

__all__ = ["Passage", "page", "write"]
