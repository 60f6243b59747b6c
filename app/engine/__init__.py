"""Runs loaded models: registry, batching, worker threads for each model."""
