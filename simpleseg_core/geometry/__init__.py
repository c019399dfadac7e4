"""Mask <-> polygon: trace, simplify, fit, order, rasterise, RLE. Coordinates are normalised, on pixel edges, y down."""

from simpleseg_core.geometry._shape import Holes
from simpleseg_core.geometry._types import Mask, Polygon, Rle
from simpleseg_core.geometry.order import Order, order_polygon, order_polygons, signed_area
from simpleseg_core.geometry.polygons import GRID, mask_to_polygons
from simpleseg_core.geometry.raster import Overlap, polygons_mask_iou, polygons_overlap, polygons_to_mask
from simpleseg_core.geometry.region import Region
from simpleseg_core.geometry.rle import decode_rle, encode_rle
from simpleseg_core.geometry.shapes import (
    crosses_itself,
    interior_point,
    mask_box,
    polygons_box,
)

__all__ = [
    "GRID",
    "Holes",
    "Mask",
    "Order",
    "Overlap",
    "Polygon",
    "Region",
    "Rle",
    "crosses_itself",
    "decode_rle",
    "encode_rle",
    "interior_point",
    "mask_box",
    "mask_to_polygons",
    "order_polygon",
    "order_polygons",
    "polygons_box",
    "polygons_mask_iou",
    "polygons_overlap",
    "polygons_to_mask",
    "signed_area",
]
