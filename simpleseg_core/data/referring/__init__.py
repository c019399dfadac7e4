"""Referring-expression data sets in their original files, all read into one form; nothing in a file is run."""

from simpleseg_core.data.referring._check import SetReport, SplitReport, check_referring, find_sets
from simpleseg_core.data.referring._pickles import UnsafePickleError, load_plain
from simpleseg_core.data.referring._read import read_referring
from simpleseg_core.data.referring._sets import Picture, ReferringImage, ReferringSet, Segment, Utterance

__all__ = [
    "Picture", "ReferringImage", "ReferringSet", "Segment", "SetReport", "SplitReport", "UnsafePickleError",
    "Utterance", "check_referring", "find_sets", "load_plain", "read_referring",
]  # fmt: skip
