"""Brings the cloud's services up inside its namespaces. Called by start.sh, with Debian's Python.

Returns when servers can be made: all APIs answer, all compute hosts and agents are known, flavors and the public network are there.
"""

from __future__ import annotations

import shutil
import sys
import time

import catalog
import configuration
import database
import heat
import services
import watcher
from processes import NotReadyError, Processes
from settings import Settings, from_environment


def main() -> None:
    settings = from_environment()
    processes = Processes(settings)
    began = time.monotonic()

    def say(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:5.1f} s  {what}\n")

    configuration.make_folders(settings)
    prepared = database.Prepared(settings)
    restored = prepared.restore(settings.run / "data")
    passwords = configuration.ensure_passwords(settings.run / "data" / "passwords.json")
    configuration.write_configuration(settings, passwords)
    hand_over(settings)
    services.start_memory_and_messages(settings, processes)
    if not restored:
        say("making the database, which the next start finds prepared")
        database.prepare(settings, processes, passwords)
        prepared.keep(settings.run / "data")
    database.start(settings, processes)
    services.start_libvirt(settings, processes)
    processes.wait_for_ports("127.0.0.1", 5672)
    say("database and messages are there, starting services")
    services.start_all(settings, processes)
    services.start_keystone(settings, processes)
    services.start_other_hosts(settings, processes)
    services.wait_for_all(settings, processes, passwords["database"])
    say("services are there")
    catalog.set_up(settings, passwords["admin"])
    if settings.heat:
        heat.start(settings, processes, passwords)
    if settings.watcher:
        watcher.start(settings, processes, passwords)
    (settings.etc / "clouds.yaml").rename(settings.run / "clouds.yaml")
    say("the cloud is there")


def hand_over(settings: Settings) -> None:
    """To those services that are not root's."""
    shutil.move(settings.etc / "rabbitmq.conf", settings.run / "rabbit" / "rabbitmq.conf")
    for folder, user in (("rabbit", "rabbitmq"), ("socket", "mysql")):
        for each in (settings.run / folder, *(settings.run / folder).iterdir()):
            shutil.chown(each, user, user)


if __name__ == "__main__":
    try:
        main()
    except NotReadyError as problem:
        sys.exit(f"error: {problem}")
