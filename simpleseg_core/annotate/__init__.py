"""The data engine: detectors, segmenters, describers and filters that turn images with captions into described instances."""
