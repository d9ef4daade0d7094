"""Snapshots and backups of clusters: what is kept, where it lies, and how it comes back."""
