"""The DINOv3 starter: pictures from a generator, self-supervised training, evaluation set, export."""
