"""Prefect flows that chain the tasks, and the command line that starts them."""
