"""The DINOv3 starter: pictures from a generator, training by contrast, evaluation set, export."""
