"""The services' database. Making its tables takes longer than all else, so that is done once and kept: a start takes a copy.

What is kept is good for one version of the packages, of what fills it here, and of the cloud's address; else it is made again.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import catalog
import services
from processes import Processes
from settings import CLOUD, Settings

_DATABASES = ("keystone", "glance", "placement", "nova_api", "nova", "nova_cell0", "neutron", "cinder")
_PACKAGES = ("keystone", "glance-common", "placement-common", "nova-common", "neutron-common", "cinder-common", "mariadb-server")


class Prepared:
    """What is kept between starts: database, Keystone's keys, passwords."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.state / "prepared"
        self.folder = self._folder / _fingerprint(settings)

    def restore(self, data: Path) -> bool:
        """Whether there was something."""
        if not self.folder.exists():
            return False
        shutil.rmtree(data)
        subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", self.folder, data], check=True)
        return True

    def keep(self, data: Path) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700)
        unfinished = self._folder / "unfinished"
        subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", data, unfinished], check=True)
        unfinished.rename(self.folder)


def _fingerprint(settings: Settings) -> str:
    known = hashlib.sha256(settings.address.encode())
    known.update(subprocess.run(["dpkg-query", "-W", *_PACKAGES], check=True, capture_output=True).stdout)
    for file in (CLOUD / "catalog.py", CLOUD / "database.py"):
        known.update(file.read_bytes())
    return known.hexdigest()[:16]


def start(settings: Settings, processes: Processes) -> None:
    """Fast rather than durable: nobody wants this data after a power cut."""
    processes.start("mariadb", [
        "mariadbd", "--no-defaults", f"--datadir={settings.run}/data/mysql", f"--socket={socket(settings)}", "--bind-address=127.0.0.1",
        "--skip-name-resolve", "--max-connections=1000", "--skip-log-bin", "--performance-schema=0", "--innodb-flush-log-at-trx-commit=0",
        "--innodb-doublewrite=0", "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=256M", "--innodb-log-file-size=32M",
        "--character-set-server=utf8mb3", "--collation-server=utf8mb3_general_ci",
    ], user="mysql")  # fmt: skip
    processes.wait_for_ports("127.0.0.1", 3306)


def socket(settings: Settings) -> Path:
    return settings.run / "socket" / "mariadb"


def prepare(settings: Settings, processes: Processes, passwords: dict[str, str]) -> None:
    """Makes all databases, their tables, and the catalog; MariaDB is stopped afterwards."""
    data = settings.run / "data"
    shutil.chown(data, "mysql", "mysql")
    processes.run("mariadb-install", [
        "mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}/mysql", "--auth-root-authentication-method=socket",
        "--skip-test-db", "--innodb-log-file-size=32M",
    ])  # fmt: skip
    start(settings, processes)
    _create_databases(settings, passwords["database"])
    with ThreadPoolExecutor() as pool:
        for each in [pool.submit(_sync_identity, settings, processes, passwords), pool.submit(_sync_nova, settings, processes)]:
            each.result()
    services.start_keystone(settings, processes)
    catalog.fill(settings, passwords)
    processes.kill("keystone")  # uWSGI may take a minute to say good-bye to its threads
    processes.stop("mariadb")


def _create_databases(settings: Settings, password: str) -> None:
    lines = [f"CREATE DATABASE {each};" for each in _DATABASES]
    lines.append(f"CREATE USER openstack@'127.0.0.1' IDENTIFIED BY '{password}'; GRANT ALL ON *.* TO openstack@'127.0.0.1';")
    subprocess.run(["mariadb", "--no-defaults", f"--socket={socket(settings)}"], input="\n".join(lines), text=True, check=True)


def _sync_identity(settings: Settings, processes: Processes, passwords: dict[str, str]) -> None:
    etc, log = settings.etc, "prepare-identity"
    manage = ["keystone-manage", "--config-file", etc / "keystone.conf"]
    processes.run(log, [*manage, "db_sync"])
    for keys in ("fernet_setup", "credential_setup"):
        processes.run(log, [*manage, keys, "--keystone-user", "root", "--keystone-group", "root"])
    urls = [f"--bootstrap-{interface}-url={settings.identity_url}" for interface in ("public", "internal", "admin")]
    bootstrap = [*manage, "bootstrap", "--bootstrap-region-id=RegionOne", *urls]
    processes.run(log, bootstrap, {"OS_BOOTSTRAP_PASSWORD": passwords["admin"]})
    processes.run(log, ["placement-manage", "--config-file", etc / "placement.conf", "db", "sync"])
    processes.run(log, ["glance-manage", "--config-file", etc / "glance.conf", "db_sync"])
    processes.run(log, ["cinder-manage", "--config-file", etc / "common.conf", "--config-file", etc / "cinder.conf", "db", "sync"])


def _sync_nova(settings: Settings, processes: Processes) -> None:
    etc, log = settings.etc, "prepare-nova"
    files = [word for name in ("common", "nova", "nova-database") for word in ("--config-file", etc / f"{name}.conf")]
    for command in ("api_db sync", "cell_v2 map_cell0", "cell_v2 create_cell --name cell1", "db sync"):
        processes.run(log, ["nova-manage", *files, *command.split()])
    files = [word for name in ("common", "neutron", "neutron-ml2") for word in ("--config-file", etc / f"{name}.conf")]
    processes.run(log, ["neutron-db-manage", *files, "upgrade", "heads"])
