"""Watcher, for whoever wants to compare with it (`LABCLOUD_TEST_CLOUD_WATCHER`): its database, its place in the catalog, its services."""

from __future__ import annotations

import subprocess

import catalog
from database import socket
from processes import Processes, answers
from settings import Settings

_PORT = 9322


def start(settings: Settings, processes: Processes, passwords: dict[str, str]) -> None:
    """Once everything else serves."""
    mariadb = ["mariadb", "--no-defaults", f"--socket={socket(settings)}", "--execute", "CREATE DATABASE watcher"]
    subprocess.run(mariadb, check=True)
    files = ["--config-file", settings.etc / "common.conf", "--config-file", settings.etc / "watcher.conf"]
    processes.run("watcher-manage", ["watcher-db-manage", *files, "upgrade"])
    cloud = catalog.connect(settings, passwords["admin"])
    service = cloud.identity.create_service(type="infra-optim", name="watcher")
    for interface in ("public", "internal", "admin"):
        url = f"http://{settings.address}:{_PORT}"
        cloud.identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id="RegionOne")
    for name in ("watcher-decision-engine", "watcher-applier", "watcher-api"):
        processes.start(name, [name, *files])
    # Asks the decision engine, which then learns from Nova what there is.
    model, headers = f"http://{settings.address}:{_PORT}/v1/data_model/", {"OpenStack-API-Version": "infra-optim 1.3"}
    processes.wait("watcher", lambda: answers(settings.address, _PORT) and cloud.session.get(model, headers=headers, raise_exc=False).ok)
