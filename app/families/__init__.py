"""One file a model family; `catalog` says which there are."""
