"""What touches the world: running a stage, versions in DVC, tracking in MLflow, processes, the doctor."""
