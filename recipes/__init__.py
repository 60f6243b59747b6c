"""How the starter checkpoints of `models/starter/` are made: data, training, evaluation, export. One package a family.

Nothing here is needed to serve them. `make starter` runs everything, `make starter-e5` one of them.
"""

from pathlib import Path

CACHE = Path(__file__).parent / ".cache"
"""Unpacked packages, prepared data and the state of unfinished trainings. Safe to delete."""

STARTER = Path(__file__).parents[1] / "models" / "starter"
"""Where finished checkpoints go: one folder a name."""
