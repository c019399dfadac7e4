"""Training: batches, optimizer, schedule, the supervised loop and the GSPO loop."""
