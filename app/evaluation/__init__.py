"""How well served models find: evaluation sets, metrics, and a client that asks any server over its public API.

`python -m app eval --model NAME`. Nothing here knows how a model computes; the sets lie in `data/`.
"""
