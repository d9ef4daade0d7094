"""The lab repository: what is wanted, as YAML files in git, and who may change it at a time. Knows nothing of engines."""

from labcloud.lab.locks import cluster_lock
from labcloud.lab.repository import Lab, home

__all__ = ["Lab", "cluster_lock", "home"]
