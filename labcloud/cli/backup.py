"""The group of commands about backups; each has a module, which is imported when it runs."""

from __future__ import annotations

import importlib
from typing import Final

import click

# name → (module, function)
_COMMANDS: Final = {
    "run": ("backups", "run_command"),
    "list": ("backups", "list_command"),
    "restore": ("backups", "restore_command"),
    "verify": ("backups", "verify_command"),
    "drill": ("backups", "drill_command"),
    "prune": ("backups", "prune_command"),
    "policy": ("backup_policy", "policy_command"),
    "schedule": ("backup_policy", "schedule_command"),
}


class BackupCommands(click.Group):
    """Commands by the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"labcloud.cli.{module}"), name)
        return command


@click.group("backup", cls=BackupCommands)
def backup_command() -> None:
    """Backups of clusters: copies that lie elsewhere, and what says when they are made and how long they stay (docs/protection.md)."""
