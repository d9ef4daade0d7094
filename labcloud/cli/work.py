"""exec, shell, submit, logs: working on a cluster."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from labcloud.cli.session import cluster_argument, session, tenant_option
from labcloud.errors import EngineError, PartlyDoneError, UsageError
from labcloud.model import ClusterRef, Tenant

if TYPE_CHECKING:
    from labcloud.apply.work import Work

node_option = click.option("--node", metavar="NODE", help="One node, as in worker-0.")
group_option = click.option("--group", metavar="GROUP", help="All nodes of a group, as in worker.")
all_option = click.option("--all", "every", is_flag=True, help="All nodes.")
user_option = click.option("--user", metavar="USER", help="As which OS user.  [default: the tenant's]")
as_option = click.option("--as", "member", metavar="MEMBER", help="As which member of the tenant.")


@contextmanager
def _working(ref: ClusterRef, *, member: str | None = None, user: str | None = None) -> Iterator[Work]:
    """Work as a member, as another OS user, or as the tenant's. Raise NotFoundError for who is no member, UsageError for both."""
    from labcloud.apply.work import Work, person

    if member is not None and user is not None:
        raise UsageError("--as and --user cannot both say who it is", resolution="give one of the two")
    with session() as opened:
        cluster, profile, provider = opened.look().cluster(ref)
        if member is None:
            yield Work(provider, cluster, profile, user or "")
        else:
            tenant = opened.lab.tenant(ref.tenant) or Tenant(ref.tenant, cluster.user_id)
            yield Work(provider, cluster, profile, *person(tenant, member))


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@tenant_option
@node_option
@group_option
@all_option
@user_option
@as_option
@click.option("--stdin", "-i", "pass_stdin", is_flag=True, help="Pass standard input on to the command.")
@cluster_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(
    tenant: str | None, node: str | None, group: str | None, every: bool, user: str | None, member: str | None, pass_stdin: bool,
    cluster: ClusterRef, command: tuple[str, ...],
) -> int:  # fmt: skip
    """Run COMMAND on a node of CLUSTER, by default its first, as the tenant's user.

    The exit code is the command's; 10 if it failed on some of several nodes.
    """
    from labcloud.providers.base import Command

    options, argv = _split(command)
    node, group, every = options.get("node", node), options.get("group", group), every or "all" in options
    user, member, pass_stdin = options.get("user", user), options.get("member", member), pass_stdin or "stdin" in options
    with _working(cluster, member=member, user=user) as work:
        refs = work.nodes(node=node, group=group, every=every)
        order = Command(argv, user=work.user, stdin=sys.stdin.buffer if pass_stdin else b"")
        codes = work.run(dict.fromkeys(refs, order), sys.stdout.buffer, sys.stderr.buffer)
    failed = {ref: code for ref, code in codes.items() if code}
    if failed and len(failed) < len(codes):
        raise PartlyDoneError(f"{argv[0]} failed on {', '.join(ref.name for ref in failed)}")
    return next(iter(failed.values()), 0)


def _split(words: tuple[str, ...]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Options may stand behind the cluster's name, before the command: ``exec C --node worker-0 -- CMD``."""
    parser = click.Command("exec", context_settings={"allow_interspersed_args": False}, add_help_option=False)
    parser.params = [click.Option([f"--{name}"]) for name in ("node", "group", "user")]
    parser.params += [
        click.Option(["--as", "member"]),
        click.Option(["--all"], is_flag=True),
        click.Option(["--stdin", "-i"], is_flag=True),
    ]
    parser.params += [click.Argument(["command"], nargs=-1, required=True, type=click.UNPROCESSED)]
    found = parser.make_context("exec", list(words)).params
    argv = tuple(found.pop("command"))
    return {name: str(value) for name, value in found.items() if value}, argv


@click.command("shell")
@tenant_option
@node_option
@user_option
@as_option
@cluster_argument
def shell_command(tenant: str | None, node: str | None, user: str | None, member: str | None, cluster: ClusterRef) -> int:
    """A login shell on a node of CLUSTER, by default its first, as the tenant's user."""
    with _working(cluster, member=member, user=user) as work:
        (ref,) = work.nodes(node=node)
        argv = work.shell(ref, work.user)
    if not sys.stdin.isatty():
        argv = [word for word in argv if word not in ("--tty", "-t")]
    if shutil.which(argv[0]) is None:
        raise EngineError(f"a shell needs the command {argv[0]!r}, which is not installed", resolution="use 'labcloud exec', or install it")
    os.execvp(argv[0], argv)  # noqa: S606 - an argv list of our own; the terminal is handed over


@click.command("submit", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@tenant_option
@as_option
@cluster_argument
@click.argument("jar")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def submit_command(tenant: str | None, member: str | None, cluster: ClusterRef, jar: str, arguments: tuple[str, ...]) -> int:
    """Run JAR on CLUSTER with YARN, as the tenant's user or a member: a jar here, a path on the node, or the word 'examples'.

    \b
    labcloud submit acme/hadoop-2.7 examples wordcount /user/acme/in /user/acme/out
    """
    with _working(cluster, member=member) as work:
        return work.submit(jar, arguments, sys.stdout.buffer, sys.stderr.buffer)


@click.command("logs")
@tenant_option
@cluster_argument
@node_option
@click.option("--service", metavar="S", help="Only this service, as in namenode.")
@click.option("--lines", "-n", type=click.IntRange(0), default=20, show_default=True, help="How many lines of each.")
@click.option("--follow", "-f", is_flag=True, help="Go on as they are written.")
def logs_command(tenant: str | None, cluster: ClusterRef, node: str | None, service: str | None, lines: int, follow: bool) -> int:
    """What the services of CLUSTER wrote to their logs."""
    with _working(cluster) as work:
        refs = work.nodes(node=node, every=node is None)
        codes = work.run(work.logs(refs, service, lines=lines, follow=follow), sys.stdout.buffer, sys.stderr.buffer)
    return next((code for code in codes.values() if code), 0)
