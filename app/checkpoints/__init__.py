"""Checkpoints on disk: finding, downloading, checking and converting them."""
