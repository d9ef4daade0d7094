"""What a run of backups tells: a message to a web hook, a letter to people. Never an obstacle: what could not be told is a warning.

No password is in the lab repository: that of the mail server stands in HOME/secrets/smtp.password, which only its owner may read.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any, Final

from labcloud.apply.webhooks import post, shown_host, within
from labcloud.errors import ConfigError, LabError
from labcloud.lab.files import read_private
from labcloud.model import ClusterRef, format_bytes
from labcloud.model.periods import stamp
from labcloud.model.reports import Email, Report, Security

MAIL_SECONDS: Final = 30.0
_LONGEST_SUBJECT: Final = 160


@dataclass(frozen=True)
class Outcome:
    """What a run did with a cluster: ``did`` is a word for it, ``copy_id`` the backup that was made, or looked at.

    Of its ``bytes_total`` the run stored ``bytes_added`` that were not there yet (None: nobody knows how many); it took ``seconds``.
    ``error`` says in a sentence why it failed; ``warning`` what somebody should know though it did not.
    """

    ref: ClusterRef
    did: str
    copy_id: str = ""
    bytes_added: int | None = 0
    bytes_total: int = 0
    seconds: float = 0.0
    error: str = ""
    warning: str = ""


def public(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON has it, in messages and on the command line."""
    return {
        "tenant": outcome.ref.tenant, "name": outcome.ref.name, "done": outcome.did, "copy": outcome.copy_id,
        "bytes_added": outcome.bytes_added, "bytes_total": outcome.bytes_total, "seconds": round(outcome.seconds, 1),
        "error": outcome.error, "warning": outcome.warning,
    }  # fmt: skip


def send(report: Report, outcomes: Sequence[Outcome], *, home: Path, began: datetime, ended: datetime) -> list[str]:
    """Tell of a run what ``report`` asks for; of one that did nothing, nobody. Returns what went wrong, a sentence each, without secrets.

    It takes half a minute at most, and raises nothing: whether the copies are good does not depend on who hears of it.
    """
    if not outcomes:
        return []
    warnings = []
    if report.webhook:
        wrong = post(report.webhook, message(outcomes, began=began, ended=ended))
        warnings += [f"the report did not reach {shown_host(report.webhook)}: {wrong}"] if wrong else []
    if report.email is not None:
        wrong = _mail(report.email, letter(report.email, outcomes, began=began, ended=ended), home)
        warnings += [f"the report was not sent by {report.email.server}: {wrong}"] if wrong else []
    return warnings


def message(outcomes: Sequence[Outcome], *, began: datetime, ended: datetime) -> dict[str, object]:
    """What a web hook is sent after a run."""
    failed = sum(bool(each.error) for each in outcomes)
    return {
        "event": "backup-run", "began": stamp(began), "ended": stamp(ended), "ok": not failed, "done": len(outcomes) - failed,
        "failed": failed, "text": f"{_verdict(outcomes)}.", "clusters": [public(each) for each in outcomes],
    }  # fmt: skip


def letter(email: Email, outcomes: Sequence[Outcome], *, began: datetime, ended: datetime) -> EmailMessage:
    """What people are sent after a run: plain text, the clusters that failed first."""
    lines = [f"{_verdict(outcomes)}, from {stamp(began)} to {stamp(ended)} on {socket.gethostname()}.", ""]
    for each in sorted(outcomes, key=lambda each: (not each.error, not each.warning, each.ref)):
        lines += _paragraph(each)
    found = EmailMessage()
    found["Subject"] = f"labcloud backups: {_verdict(outcomes)}"[:_LONGEST_SUBJECT]
    found["From"] = email.sender
    found["To"] = ", ".join(email.to)
    found["Date"] = format_datetime(ended)
    found["Message-ID"] = make_msgid(domain=email.sender.rpartition("@")[2])
    found["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notes in return
    found.set_content("\n".join(lines) + "\n")
    return found


def _verdict(outcomes: Sequence[Outcome]) -> str:
    failed = [str(each.ref) for each in outcomes if each.error]
    good = len(outcomes) - len(failed)
    names = f": {', '.join(failed[:3])}{' …' if len(failed) > 3 else ''}" if failed else ""
    return f"{good} cluster{'' if good == 1 else 's'} done" + (f", {len(failed)} failed{names}" if failed else "")


def _paragraph(outcome: Outcome) -> list[str]:
    new = "what is new" if outcome.bytes_added is None else f"{format_bytes(outcome.bytes_added)} new"
    stored = f", {new} of {format_bytes(outcome.bytes_total)}" if outcome.bytes_total else ""
    copy = f" {outcome.copy_id}" if outcome.copy_id else ""
    lines = [f"{outcome.ref}: {outcome.did}{copy}{stored}, {outcome.seconds:.0f} s"]
    lines += [f"    failed: {line}" for line in outcome.error.splitlines()[:1]]
    return lines + [f"    note: {line}" for line in outcome.warning.splitlines()]


# E-mail


def _mail(email: Email, letter: EmailMessage, home: Path) -> str:
    """Send a letter. Returns what went wrong, in a word; empty if nothing did."""
    try:
        password = _password(home / "secrets" / "smtp.password") if email.user else ""
    except LabError as exc:
        return exc.brief
    return within(MAIL_SECONDS, lambda: _deliver(email, letter, password), _reason)


def _deliver(email: Email, letter: EmailMessage, password: str) -> str:
    context = ssl.create_default_context()
    where: dict[str, Any] = {"host": email.server.host, "port": email.server.port, "timeout": MAIL_SECONDS / 2}
    with smtplib.SMTP_SSL(**where, context=context) if email.security is Security.TLS else smtplib.SMTP(**where) as server:
        if email.security is Security.STARTTLS:
            server.starttls(context=context)
        if email.user:
            server.login(email.user, password)
        refused = server.send_message(letter, from_addr=email.sender, to_addrs=list(email.to))
    return f"it refuses {', '.join(sorted(refused))}" if refused else ""


def _reason(exc: Exception) -> str:
    """Why a letter was not sent. What servers answer is not repeated: it may quote what they were told."""
    match exc:
        case smtplib.SMTPRecipientsRefused():
            why = "it refuses everybody who should get it"
        case smtplib.SMTPResponseException():
            why = f"it answers {exc.smtp_code}"
        case smtplib.SMTPNotSupportedError():
            why = "it does not offer what is asked for (STARTTLS, or a login)"
        case ssl.SSLCertVerificationError():
            why = f"its certificate is not trusted: {exc.verify_message}"
        case TimeoutError():
            why = "no answer in time"
        case smtplib.SMTPServerDisconnected():
            why = "no answer in time" if isinstance(exc.__context__, TimeoutError) else "it hangs up"
        case OSError(strerror=str(said)) if not isinstance(exc, ssl.SSLError):
            why = said.lower()
        case _:
            why = f"not sent ({type(exc).__name__})"
    return why


def _password(path: Path) -> str:
    """The password that a file has. Raise NotFoundError if there is none, ConfigError if others may read it, or it says nothing."""
    text = read_private(path, "the password").strip()
    if not text:
        raise ConfigError(f"{path} has no password in it", resolution="put it there")
    return text
