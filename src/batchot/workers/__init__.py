"""Workers that may die, here or on other machines; of the ground floor.

`batchot.workers.process` is one child process, `batchot.workers.pool` says what workers and engines are and has the
pool of this machine, `batchot.workers.ray` is the engine over Ray.
"""
