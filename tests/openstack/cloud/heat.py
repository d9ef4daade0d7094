"""Heat, for whoever wants to compare with it (`LABCLOUD_TEST_CLOUD_HEAT`): its database, its users, its services."""

from __future__ import annotations

import subprocess

import catalog
from database import socket
from processes import Processes, answers
from settings import Settings

_PORT = 8004


def start(settings: Settings, processes: Processes, passwords: dict[str, str]) -> None:
    """Once everything else serves."""
    mariadb = ["mariadb", "--no-defaults", f"--socket={socket(settings)}", "--execute", "CREATE DATABASE heat"]
    subprocess.run(mariadb, check=True)
    files = ["--config-file", settings.etc / "common.conf", "--config-file", settings.etc / "heat.conf"]
    processes.run("heat-manage", ["heat-manage", *files, "db_sync"])
    _register(settings, passwords)
    for name in ("heat-engine", "heat-api"):
        processes.start(name, [name, *files])
    processes.wait("heat", lambda: answers(settings.address, _PORT) and "INFO" in processes.log("heat-engine").read_text(errors="replace"))


def _register(settings: Settings, passwords: dict[str, str]) -> None:
    identity = catalog.connect(settings, passwords["admin"]).identity
    service = identity.create_service(type="orchestration", name="heat")
    for interface in ("public", "internal", "admin"):
        url = f"http://{settings.address}:{_PORT}/v1/%(project_id)s"
        identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id="RegionOne")
    for role in ("heat_stack_owner", "heat_stack_user"):
        identity.create_role(name=role)
    domain = identity.create_domain(name="heat")
    user = identity.create_user(name="heat", password=passwords["services"], domain_id=domain.id)
    identity.assign_domain_role_to_user(domain, user, next(each for each in identity.roles() if each.name == "admin"))
