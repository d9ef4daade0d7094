"""tenant usage: quotas now, hours over time, and bills."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from labcloud.cli.output import emit, note, print_table, title
from labcloud.cli.session import Session, session
from labcloud.errors import NotFoundError, UsageError
from labcloud.model import Resource, format_amount, tenant_name
from labcloud.model.periods import period as asked_period

if TYPE_CHECKING:
    from labcloud.accounting.accounts import Hours, TenantUsage
    from labcloud.accounting.usage import Standing
    from labcloud.model.prices import PriceBook

_HEADINGS: Final = ("CLUSTER", "PROFILE", "NODE-HOURS", "CPU-HOURS", "MEMORY GIB-HOURS", "VOLUME GIB-HOURS")


@click.command("usage")
@click.argument("tenant", required=False)
@click.option(
    "--since", metavar="TIME", help="Where the period begins, in UTC: a day, as in 2026-11-01, or a time, as in 2026-11-01T18:00:00Z."
)
@click.option("--until", metavar="TIME", help="Where it ends; that moment is not in it any more.  [default: now]")
@click.option("--month", metavar="YYYY-MM", help="A whole month as the period.")
@click.option(
    "--prices", type=click.Path(path_type=Path), metavar="FILE", help="A price book.  [default: prices.yaml of the lab, if it is there]"
)
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml", "csv"]), default="table", show_default=True,
    help="How to print the result; csv has a row for each cluster and resource, for bills.",
)  # fmt: skip
def usage(tenant: str | None, since: str | None, until: str | None, month: str | None, prices: Path | None, output: str) -> None:
    """What TENANT, or every tenant, uses of its quotas now, and what its clusters took over time.

    Without a period: the quotas now, and the hours of this month. A stopped cluster takes no node-, cpu- and memory-hours, but its
    volumes. Time that is to come is left out.
    """
    from labcloud.accounting.accounts import Accounts

    now = datetime.now(UTC).replace(microsecond=0)
    period = asked_period(since, until, month, now).before(now)
    name = tenant if tenant is None else tenant_name(tenant)
    with session() as opened:
        book = _book(opened, prices)
        accounts = Accounts(opened.lab, opened.journal(), opened.provider)
        if output == "csv":
            from labcloud.accounting.billing import bill, to_csv

            click.echo(to_csv(bill(accounts.shares(name, period), period, book)), nl=False)
            return
        usages = accounts.usage(name, period, now=since is None and month is None, book=book)
    emit(usages[0] if tenant is not None else usages, output, lambda: _print(usages))


def _book(opened: Session, path: Path | None) -> PriceBook | None:
    """The prices in ``path``, or the lab's. Raise ConfigError for what is wrong in them."""
    if path is None:
        return opened.lab.prices()
    from labcloud.lab.prices import read_prices

    try:
        return read_prices(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as exc:
        raise NotFoundError(f"there is no file {path}", resolution="name a price book, or leave out --prices") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} cannot be read as a price book", resolution="name a text file, or leave out --prices") from exc


def _print(usages: Sequence[TenantUsage]) -> None:
    if not usages:
        note("no tenant, and nothing was used; make a cluster: labcloud create hadoop-2.7 --tenant T")
    for index, each in enumerate(usages):
        if index:
            click.echo()
        title(each.tenant)
        if each.now is not None:
            _print_now(each.now)
            click.echo()
        _print_hours(each)


def _print_now(standings: Sequence[Standing]) -> None:
    rows = [
        (each.resource, _amount(each, each.used), _amount(each, each.reserved), _amount(each, each.free), _amount(each, each.quota))
        for each in standings
        if each.used or each.reserved or each.quota is not None
    ]
    if rows:
        print_table(("RESOURCE", "USED", "RESERVED", "FREE", "QUOTA"), rows, right=(1, 2, 3, 4))
    else:
        click.echo("nothing is used, and there are no quotas")


def _amount(standing: Standing, value: float | None) -> str:
    """An amount as quotas are written; a hyphen where there is no limit."""
    if value is None:
        return "-"
    if not value:
        return "0"
    resource = Resource(standing.resource) if standing.resource in list(Resource) else Resource.CLUSTERS
    return ("-" if value < 0 else "") + format_amount(resource, abs(value))


def _print_hours(usage: TenantUsage) -> None:
    click.echo(f"from {usage.since} to {usage.until}")
    if not usage.clusters:
        click.echo("nothing was used")
        return
    rows = [(each.cluster, each.profile, *_cells(each.hours)) for each in usage.clusters]
    rows.append(("total", "", *_cells(usage.total)))
    headings = (*_HEADINGS, usage.currency) if usage.currency else _HEADINGS
    print_table(headings, rows, right=range(2, len(headings)))


def _cells(hours: Hours) -> tuple[str, ...]:
    from decimal import Decimal

    amounts = (hours.node_hours, hours.cpu_hours, hours.memory_gib_hours, hours.volume_gib_hours)
    money = () if hours.amount is None else (f"{Decimal(hours.amount):.2f}",)
    return (*(f"{each:.2f}" for each in amounts), *money)
