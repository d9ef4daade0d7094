"""tenant create, list, show, set, delete: who may have clusters, and how many. `usage` has a module of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from labcloud.cli.output import emit, note, output_option, print_table, title
from labcloud.cli.progress import progress
from labcloud.cli.session import Seconds, session
from labcloud.errors import UsageError
from labcloud.model import (
    Resource,
    format_amount,
    member_name,
    parse_amount,
    parse_limit,
    parse_resource,
    private_subnet,
    public_keys,
    tenant_name,
)
from labcloud.model.defaults import check_default, check_url

if TYPE_CHECKING:
    from labcloud.apply.tenancy import Change, TenantView, Use

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_NONE: Final = "none"
_LARGEST_KEY_FILE: Final = 1 << 16
_BAR: Final = 20
_OPTIONS: Final = (
    click.option("--quota", "quotas", multiple=True, metavar="WHAT=AMOUNT", help="What it may have, as in memory=16g or clusters=4."),
    click.option("--limit", "limits", multiple=True, metavar="PROFILE=N", help="At most so many clusters of a profile; 0 forbids it."),
    click.option("--member", "members", multiple=True, metavar="NAME=KEY", help="A person with an ssh public key: the text, or @FILE."),
    click.option("--subnet", metavar="NETWORK", help="Where its network shall be, as in 10.200.0.0/22.  [default: a free one]"),
    click.option("--default", "defaults", multiple=True, metavar="OPTION=VALUE", help="For an option of create that is not given."),
    click.option("--notify", metavar="URL", help="Who is told when a lease ends."),
    click.option(
        "--review", type=click.Choice(["required", "none"]), help="Whether changes by `config` wait until somebody else approves them."
    ),
)
timeout_option = click.option(
    "--timeout", type=Seconds(1, 86400), default=120.0, show_default=True, metavar="S", help="Limit of all waits together."
)


class TenantCommands(click.Group):
    """`usage` is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), "usage"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "usage":
            return super().get_command(ctx, cmd_name)
        from labcloud.cli.usage import usage

        return usage


@click.group("tenant", cls=TenantCommands)
def tenant_command() -> None:
    """Tenants: who has clusters, the people in it, and what they may have."""


def _change_options(command: Decorated) -> Decorated:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@tenant_command.command("create")
@click.argument("name")
@_change_options
@click.option("--provider", metavar="P", help="Its engine, unless `create` says another; what it needs there is made.")
@timeout_option
@output_option
def create_tenant(name: str, provider: str | None, timeout: float, output: str, **options: Any) -> None:
    """Declare the tenant NAME. `labcloud create` does so by itself for a tenant without quotas.

    \b
    labcloud tenant create acme --quota memory=16g --quota clusters=4 --member alice=@alice.pub --default lease=8h
    """
    from labcloud.apply.verbs import Terms

    if provider and not any(each.startswith("provider=") for each in options["defaults"]):
        options["defaults"] = (*options["defaults"], f"provider={provider}")
    change = _change(tenant_name(name), options)
    with progress() as watch, session() as opened:
        tenants = opened.tenants(watch)
        new = tenants.create(name, change, Terms(timeout), provider)
        shown = tenants.show(name)
    emit(shown, output, lambda: _print(shown))
    if not new:
        note(f"the tenant {name} is there already; nothing had to be done")


@tenant_command.command("set")
@click.argument("name")
@_change_options
@click.option("--remove-member", "leavers", multiple=True, metavar="NAME", help="Lock a person out; what is theirs on nodes stays.")
@timeout_option
@output_option
def set_tenant(name: str, timeout: float, output: str, **options: Any) -> None:
    """Change the tenant NAME: only what is named; the value `none` takes it away.

    Running clusters have changed members at once. A quota under what is used takes nothing away: it blocks growth only.
    """
    from labcloud.apply.verbs import Terms

    change = _change(tenant_name(name), options)
    if not change.noted() and change.notify is None and change.subnet is None:
        raise UsageError("nothing is to change", resolution="name something, as in --quota memory=16g; --help lists it all")
    with progress() as watch, session() as opened:
        tenants = opened.tenants(watch)
        notes = tenants.set(name, change, Terms(timeout))
        shown = tenants.show(name)
    emit(shown, output, lambda: _print(shown))
    for text in notes:
        note(text)


@tenant_command.command("list")
@output_option
def list_tenants(output: str) -> None:
    """All tenants: what they use, of what they may have."""
    from labcloud.apply.watch import Watch

    with session() as opened:
        views = opened.tenants(Watch()).views()
    shown = (Resource.CLUSTERS, Resource.NODES, Resource.CPUS, Resource.MEMORY, Resource.VOLUMES)

    def table() -> None:
        if not views:
            note("no tenants; make one: labcloud tenant create T")
            return
        rows = [(each.name, *(_of(name, each.quotas[name]) for name in shown), len(each.members)) for each in views]
        print_table(("TENANT", *(name.upper() for name in shown), "MEMBERS"), rows, right=range(1, len(shown) + 2))

    emit(views, output, table)


@tenant_command.command("show")
@click.argument("name")
@output_option
def show_tenant(name: str, output: str) -> None:
    """All about the tenant NAME: what it uses of its quotas, its people, its network, its defaults."""
    from labcloud.apply.watch import Watch

    with session() as opened:
        shown = opened.tenants(Watch()).show(tenant_name(name))
    emit(shown, output, lambda: _print(shown))


@tenant_command.command("delete")
@click.argument("name")
@click.option("--provider", metavar="P", help="The engine that has its network.  [default: those that the lab's clusters use, or docker]")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@timeout_option
@output_option
def delete_tenant(name: str, provider: str | None, yes: bool, timeout: float, output: str) -> None:
    """Delete the tenant NAME with its network. Its clusters must be deleted before.

    On a terminal it asks first.
    """
    from labcloud.apply.verbs import Terms

    tenant_name(name)
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete the tenant {name}?", abort=True, err=True)
    with progress() as watch, session() as opened:
        opened.tenants(watch).delete(name, Terms(timeout), provider)
    emit({"name": name, "deleted": True}, output, lambda: note(f"the tenant {name} is deleted"))


# What was said, read


def _change(tenant: str, options: Mapping[str, Any]) -> Change:
    """The options of create and set. Raise UsageError for what cannot be, before anything is written."""
    from labcloud.apply.tenancy import Change

    quotas = {parse_resource(key): value for key, value in _pairs("--quota", options["quotas"]).items()}
    limits = _pairs("--limit", options["limits"])
    defaults = _pairs("--default", [text.removeprefix("set=") for text in options["defaults"]])
    subnet, notify = options["subnet"], options["notify"]
    return Change(
        quotas={key: None if value == _NONE else parse_amount(key, value) for key, value in quotas.items()},
        limits={key: None if value == _NONE else parse_limit(value) for key, value in limits.items()},
        members=_members(tenant, options["members"]),
        leavers=tuple(dict.fromkeys(options.get("leavers", ()))),
        subnet="" if subnet == _NONE else subnet if subnet is None else str(private_subnet(subnet)),
        defaults={key: None if value == _NONE else check_default(key, value) for key, value in defaults.items()},
        notify="" if notify == _NONE else notify if notify is None else check_url(notify),
        review=None if options["review"] is None else options["review"] == "required",
    )


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"{option} {text!r} is not of the form NAME=VALUE", resolution=f"write it as in {_EXAMPLES[option]}")
        if key in pairs:
            raise UsageError(f"{option} names {key!r} twice", resolution="name it once")
        pairs[key] = value
    return pairs


_EXAMPLES: Final = {"--quota": "--quota memory=16g", "--limit": "--limit hadoop-3.4=2", "--default": "--default memory=2g"}


def _members(tenant: str, texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """People and their keys; ``NAME`` alone has none. Nothing of what is given as a key stands in an error."""
    members: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, _, said = text.partition("=")
        member_name(name, tenant)
        if name in members:
            raise UsageError(f"the member {name!r} is named twice", resolution=f"put several keys into one file: --member {name}=@FILE")
        try:
            members[name] = public_keys(_key_file(said[1:]) if said.startswith("@") else said)
        except UsageError as exc:
            raise UsageError(f"the key of {name}: {exc.brief}", resolution=exc.resolution) from exc
    return members


def _key_file(name: str) -> str:
    path = Path(name).expanduser()
    try:
        if path.is_file() and path.stat().st_size <= _LARGEST_KEY_FILE:
            return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        pass
    raise UsageError(f"{name} is no file of public keys that can be read", resolution="name one, as in @~/.ssh/id_ed25519.pub")


# What is shown


def _print(shown: TenantView) -> None:
    title(f"{shown.name}  user id {shown.user_id}")
    print_table(("QUOTA", "USED", "OF", ""), [_row(name, name, use) for name, use in shown.quotas.items()], right=(1, 2))
    if shown.limits:
        click.echo()
        rows = [_row(name, Resource.CLUSTERS, use) for name, use in shown.limits.items()]
        print_table(("CLUSTERS OF", "USED", "OF", ""), rows, right=(1, 2))
    if shown.members:
        click.echo()
        people = [(each.name, each.user_id, _brief(each.keys)) for each in shown.members]
        print_table(("MEMBER", "USER ID", "KEYS"), people, right=(1,))
    facts = {
        "clusters": ", ".join(shown.clusters), "subnet": shown.subnet, "notify": shown.notify, "former members": ", ".join(shown.former),
        "review": "required" if shown.review else "",
        "defaults": ", ".join(f"{key}={value}" for key, value in shown.defaults.items()),
    }  # fmt: skip
    if any(facts.values()):
        click.echo()
    for name, text in facts.items():
        if text:
            click.echo(f"{name}: {text}")


def _row(title: str, resource: str, use: Use) -> tuple[str, str, str, str]:
    kind = Resource(resource)
    return title, format_amount(kind, use.used), "-" if use.limit is None else format_amount(kind, use.limit), _bar(use)


def _bar(use: Use) -> str:
    """``██████              30%``; nothing where there is no limit."""
    if use.limit is None:
        return ""
    share = use.used / use.limit if use.limit else float(use.used > 0)
    full = min(_BAR, round(share * _BAR))
    return f"{'█' * full}{'░' * (_BAR - full)} {share:4.0%}"


def _of(resource: str, use: Use) -> str:
    kind = Resource(resource)
    used = format_amount(kind, use.used)
    return used if use.limit is None else f"{used}/{format_amount(kind, use.limit)}"


def _brief(keys: Sequence[str]) -> str:
    """The kind and the comment of each key: bodies are for machines."""
    words = [key.split(" ", 2) for key in keys]
    return ", ".join(" ".join((each[0], *each[2:])) for each in words) or "none"
