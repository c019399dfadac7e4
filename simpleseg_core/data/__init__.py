"""Tables and shards, the sources of images and expressions, and what is asked about them."""
