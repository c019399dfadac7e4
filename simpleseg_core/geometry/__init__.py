"""Mask <-> polygon: trace, simplify, fit, order, rasterise, RLE. Coordinates are normalised, on pixel edges, y down."""

from simpleseg_core.geometry._types import Mask, Polygon, Rle
from simpleseg_core.geometry.order import Order, order_polygon, order_polygons, signed_area
from simpleseg_core.geometry.polygons import GRID, Holes, coarsest_polygons, mask_to_polygons
from simpleseg_core.geometry.raster import Overlap, polygons_mask_iou, polygons_overlap, polygons_to_mask
from simpleseg_core.geometry.region import Region
from simpleseg_core.geometry.rle import decode_rle, encode_rle
from simpleseg_core.geometry.shapes import (
    connected_parts,
    crosses_itself,
    fill_holes,
    interior_point,
    mask_box,
    mask_holes,
    polygons_box,
    resample,
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
    "coarsest_polygons",
    "connected_parts",
    "crosses_itself",
    "decode_rle",
    "encode_rle",
    "fill_holes",
    "interior_point",
    "mask_box",
    "mask_holes",
    "mask_to_polygons",
    "order_polygon",
    "order_polygons",
    "polygons_box",
    "polygons_mask_iou",
    "polygons_overlap",
    "polygons_to_mask",
    "resample",
    "signed_area",
]
