"""Pictures for people: overlays of masks on images, sheets of probes, and plots."""

from simpleseg_core.viz._annotated import Tagged, draw_annotated
from simpleseg_core.viz._data_plots import funnel_picture, funnel_svg, histogram_svg
from simpleseg_core.viz._instances import InstanceView, draw_instance, instance_sheet
from simpleseg_core.viz._overlay import PREDICTION_COLOUR, TRUTH_COLOUR, RgbImage, draw_overlay, upscale
from simpleseg_core.viz._plots import Curve, curves_svg, intervals_svg, series_colour, success_svg
from simpleseg_core.viz._sheets import Probe, contact_sheet, probe_sheet
from simpleseg_core.viz._written import draw_written

__all__ = [
    "PREDICTION_COLOUR",
    "TRUTH_COLOUR",
    "Curve",
    "InstanceView",
    "Probe",
    "RgbImage",
    "Tagged",
    "contact_sheet",
    "curves_svg",
    "draw_annotated",
    "draw_instance",
    "draw_overlay",
    "draw_written",
    "funnel_picture",
    "funnel_svg",
    "histogram_svg",
    "instance_sheet",
    "intervals_svg",
    "probe_sheet",
    "series_colour",
    "success_svg",
    "upscale",
]  # fmt: skip
