"""Types, errors and arithmetic over arrays; knows nothing of models, HTTP or threads."""
