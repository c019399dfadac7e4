"""What touches the world: running stages, versioning data, tracking runs, and looking the machine over."""
