"""The entry point: which command lives where, and how an error becomes a sentence and an exit code.

A command's module is imported when it runs, so that ``labcloud --help`` answers at once.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

import click

from labcloud import __version__
from labcloud.errors import EXIT_BUG, EXIT_INTERRUPTED, LabError

# name → (module, what it does, the heading it stands under)
_COMMANDS: Final = {
    "create": ("lifecycle", "Make a cluster of a profile for a tenant, or several tenants.", "Clusters"),
    "preflight": ("preflight", "Ask everything that could keep a create from succeeding.", "Clusters"),
    "list": ("inspect", "All clusters, with what the engine says of them.", "Clusters"),
    "show": ("inspect", "One cluster: nodes, services, user interfaces.", "Clusters"),
    "start": ("lifecycle", "Start a cluster that was stopped, or heal one.", "Clusters"),
    "stop": ("lifecycle", "Stop a cluster's nodes; all data stays.", "Clusters"),
    "restart": ("lifecycle", "Restart services, all at once or rolling.", "Clusters"),
    "scale": ("lifecycle", "Change the number of workers without losing a block.", "Clusters"),
    "resize": ("config_apply", "Give nodes another size while they work.", "Clusters"),
    "delete": ("lifecycle", "Delete clusters with all their data.", "Clusters"),
    "backup": ("backup", "Copies that lie elsewhere: run, list, restore, verify, drill, prune, policy, schedule.", "Protection"),
    "snapshot": ("snapshot", "Moments of clusters on their own storage: create, list, restore, delete.", "Protection"),
    "reset": ("snapshot", "Put a cluster back to where it started.", "Protection"),
    "lease": ("lease", "For how long clusters are wanted: list, set, extend, remove, run.", "Clusters"),
    "exec": ("work", "Run a command on one node or many.", "Work"),
    "shell": ("work", "A shell on a node, as the tenant's user.", "Work"),
    "submit": ("work", "Run a MapReduce jar on the cluster.", "Work"),
    "logs": ("work", "What services wrote to their logs.", "Work"),
    "diagnose": ("diagnose", "Why something does not work, and what mends it.", "Work"),
    "ui": ("inspect", "Addresses of the user interfaces.", "Work"),
    "config": ("config", "What is configured: log, rollback, edit, review and approve changes, lock.", "Configuration"),
    "tenant": ("tenant", "Tenants: create, list, show, set, delete, usage.", "Lab"),
    "profile": ("profile", "Versions that can be asked for: list, show, check, render.", "Lab"),
    "storage": ("storage", "Storage classes, where data volumes lie: list, show, set, remove.", "Lab"),
    "image": ("image", "Base images: build, list, verify, prune, lock.", "Lab"),
    "dataset": ("dataset", "Shared datasets: add, list, show, verify, remove, share, attach, detach, load.", "Lab"),
    "operation": ("operation", "What happened: list, show.", "Lab"),
    "host": ("migrate", "The engine's hosts, and what runs on them: list.", "Hosts"),
    "migrate": ("migrate", "Move a node, or a cluster, to another host while it works.", "Hosts"),
    "drain": ("migrate", "Move everything away from a host that must go down.", "Hosts"),
    "evacuate": ("migrate", "Make what ran on a host that died anew elsewhere.", "Hosts"),
    "undrain": ("migrate", "Let a host get servers again.", "Hosts"),
}

# A command lives for seconds, and what it makes first are modules, which stay: collecting among them is a tenth of its start.
_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000


class Commands(click.Group):
    """Commands by the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"labcloud.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        headings = dict.fromkeys(heading for _, _, heading in _COMMANDS.values())
        for heading in headings:
            with formatter.section(heading):
                formatter.write_dl([(name, text) for name, (_, text, under) in _COMMANDS.items() if under == heading])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="labcloud")
def cli() -> None:
    """A tenant's own Hadoop cluster, of the version asked for, by one command.

    \b
    labcloud create hadoop-2.7 --tenant acme
    labcloud shell acme/hadoop-2.7

    Results go to standard output, progress and messages to standard error. Exit codes: 0 done, 2 usage, 3 configuration,
    4 not found, 5 conflict, 6 engine, 7 quota, 8 timeout, 9 configuring failed, 10 partly done, 11 preflight, 70 bug, 130 interrupted.
    """


def main() -> None:
    """Run the command line; never returns."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    sys.exit(run())


def run() -> int:
    """Run the command line and return the exit code."""
    try:
        outcome = cli(prog_name="labcloud", standalone_mode=False)
    except LabError as exc:
        say_error(exc)
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough, as `head` has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as exc:  # noqa: BLE001 - the one place where a bug becomes an exit code
        return _say_bug(exc)
    return outcome if isinstance(outcome, int) else 0


def say_error(exc: LabError) -> None:
    """One sentence, what is known, and the way out, on standard error."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {exc.brief}", err=True)
    for line in exc.details.splitlines():
        click.echo(click.style(f"  {line}", dim=True), err=True)
    if exc.resolution:
        click.echo(f"{click.style('  try:', fg='green')} {exc.resolution}", err=True)


def _say_bug(exc: Exception) -> int:
    handle, name = tempfile.mkstemp(prefix="labcloud-bug-", suffix=".txt")
    with os.fdopen(handle, "w") as file:
        file.write("".join(traceback.format_exception(exc)))
    click.echo(f"{click.style('bug:', fg='red', bold=True)} {type(exc).__name__}: {exc}", err=True)
    click.echo(f"  This is a fault of labcloud. What happened stands in {Path(name)}; please report it.", err=True)
    return EXIT_BUG


if __name__ == "__main__":
    main()
