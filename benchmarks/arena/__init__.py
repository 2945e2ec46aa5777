"""The arena: is there really no learning rate to choose?

Every workload is a loss, data, a batch size and a number of steps N. The peers are tuned on it by grid;
`method="auto"` sees it once. `python -m benchmarks.arena --help` says how to run it, docs/arena.md what came out and
how it is scored.
"""
