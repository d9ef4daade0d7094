"""The checks that no engine brings: one module a family, each with its ``CHECKS``."""
