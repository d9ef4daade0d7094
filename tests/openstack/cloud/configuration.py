"""The services' configuration: the templates, with this cloud's addresses and passwords in them."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import jinja2
from settings import CLOUD, Settings

USERS = ("admin", "member", "services", "database")
_FOLDERS = (
    "pids tmp lock data glance/images glance/staging glance/tasks nova/instances nova/mnt neutron "
    "cinder/conversion cinder/mnt cinder/backup rabbit socket"
)


def make_folders(settings: Settings) -> None:
    hosts = (*settings.simulated, *settings.real)
    of_hosts = [each for host in hosts for each in (f"nova/{host}/instances", f"lock/{host}")]
    for each in (*_FOLDERS.split(), *of_hosts):
        (settings.run / each).mkdir(parents=True, exist_ok=True)
    (settings.run / "tmp").chmod(0o1777)
    settings.etc.mkdir(mode=0o700, exist_ok=True)
    settings.logs.chmod(0o711)


def ensure_passwords(file: Path) -> dict[str, str]:
    """Those of the file, which only its owner can read; made at random where it is not there."""
    if not file.exists():
        write_secret(file, json.dumps({user: secrets.token_urlsafe(18) for user in USERS}))
    return dict(json.loads(file.read_text()))


def write_secret(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(text)


def write_configuration(settings: Settings, passwords: dict[str, str]) -> None:
    templates = jinja2.Environment(  # noqa: S701 # no HTML
        loader=jinja2.FileSystemLoader(CLOUD / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    values = {
        "run": settings.run,
        "data": settings.run / "data",
        "etc": settings.etc,
        "address": settings.address,
        "identity_url": settings.identity_url,
        "database": f"mysql+pymysql://openstack:{passwords['database']}@127.0.0.1",
        "password": passwords["services"],
        "passwords": passwords,
        "guests": settings.guests,
        "real": settings.real,
        "host_addresses": {host: settings.address_of(host) for host in ("real1", *settings.real)},
        "host": "real1",
        "watcher": settings.watcher,
    }
    for name in templates.list_templates(extensions=["conf", "yaml"]):
        if name not in {"nova-simulated.conf", "clouds.yaml"}:
            write_secret(settings.etc / name, templates.get_template(name).render(values))
    for host in settings.real[1:]:
        for name in ("nova-real", "neutron-agents"):
            write_secret(settings.etc / f"{name}-{host}.conf", templates.get_template(f"{name}.conf").render(values | {"host": host}))
    for host in settings.simulated:
        write_secret(settings.etc / f"nova-{host}.conf", templates.get_template("nova-simulated.conf").render(values | {"host": host}))
    write_secret(settings.etc / "clouds.yaml", templates.get_template("clouds.yaml").render(values))
