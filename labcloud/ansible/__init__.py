"""Configuring machines over ssh: the inventory made of found nodes, and the only door to ansible-runner. Knows no engine."""
