"""The data engine: detectors, segmenters, describers and filters that turn captioned images into described instances."""
