"""Clusters that are wanted until a time: who is told before it ends, and what is done when it has. Ends them by the verbs of apply."""
