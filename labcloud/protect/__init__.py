"""Snapshots and backups of clusters, and what brings them back. See docs/protection.md for why a copy is a consistent whole."""
