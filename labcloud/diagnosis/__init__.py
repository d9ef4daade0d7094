"""Explains failures that happened already: walks a graph of checkpoints, declared as data, to the cause and what mends it."""
