"""Models: what is special about each architecture, loading and saving checkpoints, and nano models from scratch."""
