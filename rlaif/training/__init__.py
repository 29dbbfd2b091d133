"""The training harness (job, workers, packing, checkpoints) and its objectives."""
