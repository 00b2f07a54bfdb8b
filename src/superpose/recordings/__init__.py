"""Recordings: responses with the stimuli that caused them, pairing by stimulus id, readers of common files."""

from superpose.recordings.labels import LABELS, MISSING
from superpose.recordings.matching import Matched, match
from superpose.recordings.reading import READERS, read
from superpose.recordings.recording import Recording

__all__ = ["LABELS", "MISSING", "READERS", "Matched", "Recording", "match", "read"]
