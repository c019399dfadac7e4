"""Referring-expression data sets in their original files, all read into one form; nothing in a file is run."""

from simpleseg_core.sources.referring._check import SetReport, SplitReport, check_referring, find_sets
from simpleseg_core.sources.referring._gold import referring_gold, referring_images
from simpleseg_core.sources.referring._pack import pack_pictures
from simpleseg_core.sources.referring._pickles import UnsafePickleError, load_plain
from simpleseg_core.sources.referring._read import read_referring
from simpleseg_core.sources.referring._sets import AnnotatedObject, ReferringImage, ReferringSet, StoredImage, Utterance

__all__ = [
    "AnnotatedObject",
    "ReferringImage",
    "ReferringSet",
    "SetReport",
    "SplitReport",
    "StoredImage",
    "UnsafePickleError",
    "Utterance",
    "check_referring",
    "find_sets",
    "load_plain",
    "pack_pictures",
    "read_referring",
    "referring_gold",
    "referring_images",
]  # fmt: skip
