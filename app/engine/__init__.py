"""Runs loaded models: registry, batching, one worker thread a model."""
