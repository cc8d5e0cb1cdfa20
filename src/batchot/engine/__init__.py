"""Work that is handed to workers on other machines; the lowest layer, which imports nothing of batchot.

`batchot.engine.engine` says what an engine is, `batchot.engine.ray_engine` is the one over Ray.
"""
