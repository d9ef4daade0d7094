"""Asks everything that could go wrong before anything is made, at once, and answers all of it at once. Changes nothing."""

from labcloud.preflight.checklist import Answer, Report, all_checks
from labcloud.preflight.running import Preflight

__all__ = ["Answer", "Preflight", "Report", "all_checks"]
