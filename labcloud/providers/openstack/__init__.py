"""Nodes as servers of an OpenStack cloud. `provider` keeps the contract; only this package talks to OpenStack."""
