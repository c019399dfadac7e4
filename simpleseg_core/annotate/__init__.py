"""The data engine: detectors, segmenters, describers and filters: from captioned images to described instances."""
