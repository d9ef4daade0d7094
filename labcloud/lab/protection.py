"""What labs, tenants and clusters say of backups, as it stands in the YAML files that people write. Knows no repository.

As ``backup:`` in the file of a tenant or a cluster; ``backup.yaml`` says the same for the whole lab, and where runs report to::

    enabled: true
    schedule: "02:00"          # daily at this time, UTC; also "02:00 mon,thu", or never
    keep: {last: 3, daily: 7, weekly: 4, monthly: 6}
    drill: monthly             # never, weekly, monthly
    target: /srv/backups       # a folder, sftp:USER@HOST:/PATH, s3:https://HOST/BUCKET, rest:https://HOST/, engine:openstack
    credentials: minio         # the name of a file HOME/secrets/backup/NAME.env
    keep_snapshots: 1          # automatic snapshots on the cluster's own storage
    report:                    # in backup.yaml alone
      webhook: https://chat.example.org/hooks/labcloud
      email: {to: [ada@example.org], from: labcloud@example.org, server: mail.example.org}

``backup: off`` is short for ``backup: {enabled: false}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from labcloud.lab.document import Document
from labcloud.model.defaults import check_url
from labcloud.model.protection import NO_TERMS, TERMS, BackupTerms, keep_rule, parse_count, parse_switch
from labcloud.model.reports import NO_REPORT, Email, Report, Server, parse_address, parse_security, parse_user


@dataclass(frozen=True)
class LabBackup:
    """What ``backup.yaml`` says: for all clusters, and where runs report to."""

    terms: BackupTerms = NO_TERMS
    report: Report = NO_REPORT


NO_LAB_BACKUP: Final = LabBackup()


def read_terms(document: Document, node: yaml.Node | None) -> BackupTerms:
    """What the value of ``backup:`` says; nothing is `NO_TERMS`. Raise ConfigError with the line of what is wrong."""
    if isinstance(node, yaml.ScalarNode) and node.value:
        return BackupTerms(enabled=document.scalar(node, parse_switch))
    if node is None or not document.pairs(node):
        return NO_TERMS
    return _terms(document, document.mapping(node, required=(), more=tuple(TERMS)))


def read_backup(text: str, path: Path) -> LabBackup:
    """What the lab's ``backup.yaml`` says. Raise ConfigError with ``path`` and the line of what is wrong."""
    document = Document(path)
    fields = document.mapping(document.root(text), required=(), more=(*TERMS, "report"))
    return LabBackup(_terms(document, fields), _report(document, fields.get("report")))


def _terms(document: Document, fields: Mapping[str, yaml.Node]) -> BackupTerms:
    values: dict[str, Any] = {key: document.scalar(fields[key], read) for key, read in TERMS.items() if key in fields and key != "keep"}
    keep = document.entries(fields.get("keep"), keep_rule, parse_count)
    return BackupTerms(**values, keep=MappingProxyType(keep))


def _report(document: Document, node: yaml.Node | None) -> Report:
    if node is None or not document.pairs(node):
        return NO_REPORT
    fields = document.mapping(node, required=(), more=("webhook", "email"))
    return Report(
        webhook=document.scalar(fields.get("webhook"), check_url, ""),
        email=_email(document, fields["email"]) if "email" in fields else None,
    )


def _email(document: Document, node: yaml.Node) -> Email:
    fields = document.mapping(node, required=("to", "from", "server"), more=("security", "user"))
    people, server = fields["to"], document.scalar(fields["server"], Server.parse)
    email = Email(
        to=tuple(document.scalar(each, parse_address) for each in ([people] if _is_one(people) else document.items(people))),
        sender=document.scalar(fields["from"], parse_address),
        server=server,
        security=document.scalar(fields.get("security"), parse_security, server.usual_security),
        user=document.scalar(fields.get("user"), parse_user, ""),
    )
    if email.user and email.security == "none":
        raise document.wrong(
            fields["user"].start_mark.line, "a password is not sent in the clear", "write security: starttls, or tls, or leave out the user"
        )
    return email


def _is_one(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def terms_document(terms: BackupTerms) -> dict[str, Any]:
    """The plain data of what is said of backups, in the order in which it is written; what is not said is left out."""
    found: dict[str, Any] = {}
    for key in TERMS:
        value = getattr(terms, key)
        if key == "keep":
            found |= {key: dict(value)} if value else {}
        elif value is not None:
            found[key] = value if isinstance(value, bool | int) else str(value)
    return found


def backup_document(backup: LabBackup) -> dict[str, Any]:
    """The plain data of ``backup.yaml``, in the order in which it is written."""
    report: dict[str, Any] = {"webhook": backup.report.webhook} if backup.report.webhook else {}
    if backup.report.email is not None:
        report["email"] = _email_document(backup.report.email)
    return terms_document(backup.terms) | ({"report": report} if report else {})


def _email_document(email: Email) -> dict[str, Any]:
    security = {} if email.security is email.server.usual_security else {"security": str(email.security)}
    who = {"to": list(email.to), "from": email.sender, "server": str(email.server)}
    return who | security | ({"user": email.user} if email.user else {})
