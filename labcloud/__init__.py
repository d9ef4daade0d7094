"""labcloud gives every tenant of a private cloud its own big-data cluster, of the version it asks for."""

__version__ = "0.1.0"
