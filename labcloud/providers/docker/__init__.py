"""Docker on this machine: the embedded default."""
