"""Which rows of metadata are worth a request, decided before any is made."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from simpleseg_core.config import FilterConfig
from simpleseg_core.fetch._status import Status


def refused_by_filters(table: pa.Table, filters: FilterConfig) -> pa.Array:
    """For each row the status of the first filter that refuses it, null for rows to fetch.

    A threshold that is set refuses rows whose value is missing.
    """
    status = pa.nulls(table.num_rows, pa.string())
    for reason, passes in _conditions(table, filters):
        refused = pc.and_(pc.is_null(status), pc.invert(pc.fill_null(passes, False)))
        status = pc.if_else(refused, str(reason), status)
    return status.combine_chunks() if isinstance(status, pa.ChunkedArray) else status


def _conditions(table: pa.Table, filters: FilterConfig) -> Iterator[tuple[Status, pa.ChunkedArray]]:
    width, height = table["width"], table["height"]
    if filters.min_side is not None:
        yield (
            Status.FILTERED_SIZE,
            pc.greater_equal(pc.min_element_wise(width, height, skip_nulls=False), filters.min_side),
        )
    if filters.max_aspect is not None:
        shorter = pc.min_element_wise(width, height, skip_nulls=False).cast(pa.float64())
        longer = pc.max_element_wise(width, height, skip_nulls=False).cast(pa.float64())
        yield Status.FILTERED_ASPECT, pc.less_equal(longer, pc.multiply(shorter, filters.max_aspect))
    if filters.min_similarity is not None:
        yield Status.FILTERED_SIMILARITY, pc.greater_equal(table["similarity"], filters.min_similarity)
    if isinstance(filters.max_punsafe, float):
        yield Status.FILTERED_SAFETY, pc.less_equal(table["punsafe"], filters.max_punsafe)
    if filters.max_watermark is not None:
        yield Status.FILTERED_WATERMARK, pc.less_equal(table["watermark"], filters.max_watermark)
    length = pc.utf8_length(table["text"])
    if filters.min_text_length is not None:
        yield Status.FILTERED_TEXT, pc.greater_equal(length, filters.min_text_length)
    if filters.max_text_length is not None:
        yield Status.FILTERED_TEXT, pc.less_equal(length, filters.max_text_length)
    if filters.languages:
        yield Status.FILTERED_LANGUAGE, pc.is_in(table["language"], pa.array(filters.languages))
    if filters.licenses:
        yield Status.FILTERED_LICENSE, pc.is_in(table["license"], pa.array(filters.licenses))
