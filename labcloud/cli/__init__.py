"""The command line: click and rich, and nothing else. One module per group of verbs; no logic."""
