"""Recipes of the visual retrievers: rendered pages with known words and shapes teach a small model to read them."""
