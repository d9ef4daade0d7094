"""Shared datasets: import, keep once, verify, and show to clusters. Knows no engine, and not who wants what."""
