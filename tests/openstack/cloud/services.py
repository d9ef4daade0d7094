"""The services of the cloud: how each is started, and how one sees that it serves."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pymysql
from processes import Processes
from settings import CLOUD, Settings

_SWITCH = "neutron-linuxbridge-agent"
_NEUTRON_AGENTS = {
    _SWITCH: ("neutron.cmd.eventlet.plugins.linuxbridge_neutron_agent", "Agent RPC Daemon Started"),
    "neutron-dhcp-agent": ("neutron.cmd.eventlet.agents.dhcp", "DHCP agent started"),
    "neutron-l3-agent": ("neutron.cmd.eventlet.agents.l3", "L3 agent started"),
    "neutron-metadata-agent": ("neutron.cmd.eventlet.agents.metadata", ""),
}
"""By name: the entry point, and what its log says once it does its work. A port that is made before that may never get a lease."""

_PRELOAD = {
    "nova": "nova.objects:register_all nova.compute.manager nova.conductor.manager nova.scheduler.manager nova.api.openstack.compute "
    "labcloud_simulated",
    "neutron": "neutron.plugins.ml2.plugin",
    "cinder": "cinder.objects:register_all cinder.volume.manager cinder.backup.manager cinder.scheduler.manager cinder.api.v3.router",
}


def start_memory_and_messages(settings: Settings, processes: Processes) -> None:
    processes.start("memcached", ["memcached", "-l", "127.0.0.1", "-p", "11211", "-m", "64"], user="memcache")
    folder = settings.run / "rabbit"
    processes.start("rabbitmq", ["/usr/lib/rabbitmq/bin/rabbitmq-server"], {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
    }, user="rabbitmq")  # fmt: skip


def start_keystone(settings: Settings, processes: Processes) -> None:
    _start_wsgi(settings, processes, "keystone", 5000, {"OS_KEYSTONE_CONFIG_FILES": str(settings.etc / "keystone.conf")})
    processes.wait("keystone", lambda: _serves(settings.identity_url))


def _start_wsgi(settings: Settings, processes: Processes, name: str, port: int, environment: dict[str, str]) -> None:
    script = {"keystone": "/usr/bin/keystone-wsgi-public", "placement": "/usr/bin/placement-api"}[name]
    processes.start(name, [
        "uwsgi_python3", "--http-socket", f"{settings.address}:{port}", "--wsgi-file", script, "--master", "--processes", "2",
        "--threads", "8", "--enable-threads", "--buffer-size", "65535", "--die-on-term", "--disable-logging", "--need-app",
        "--add-header", "Connection: close",
    ], environment)  # fmt: skip


def start_all(settings: Settings, processes: Processes) -> None:
    """All but those that database.py has started, at once: they wait for each other by themselves."""
    etc = settings.etc
    _start_wsgi(settings, processes, "placement", 8778, {"OS_PLACEMENT_CONFIG_DIR": str(etc)})
    processes.start("glance-api", ["glance-api", *_files(settings, "common", "glance")])
    _serve(settings, processes, "neutron", _neutron(settings), first=f"http://{settings.address}:9696/")
    _serve(settings, processes, "nova", _nova(settings))
    _serve(settings, processes, "cinder", {
        f"cinder-{name}": [f"cinder.cmd.{name}", *_files(settings, "common", "cinder")] for name in ("api", "scheduler", "volume", "backup")
    })  # fmt: skip


def _neutron(settings: Settings) -> dict[str, list[str]]:
    server = ["neutron.cmd.eventlet.server", *_files(settings, "common", "neutron", "neutron-ml2")]
    files = _files(settings, "common", "neutron", "neutron-agents")
    agents = {name: [entry, *files] for name, (entry, _) in _NEUTRON_AGENTS.items()} if settings.real else {}
    return {"neutron-server": server, **agents}


def _nova(settings: Settings) -> dict[str, list[str]]:
    controllers = _files(settings, "common", "nova", "nova-database")
    services = {f"nova-{name}": [f"nova.cmd.{name}", *controllers] for name in ("conductor", "scheduler", "api")}
    hosts = [*settings.simulated, *("real" for _ in settings.real[:1])]
    return services | {f"nova-compute-{host}": ["nova.cmd.compute", *_files(settings, "common", "nova", f"nova-{host}")] for host in hosts}


def _serve(settings: Settings, processes: Processes, project: str, services: dict[str, list[str]], *, first: str = "") -> None:
    spec = {
        "pids": str(settings.run / "pids"),
        "logs": str(settings.logs),
        "configuration": _files(settings, "common", project),
        "preload": _PRELOAD[project].split(),
        "services": services,
        "first": first,
    }
    file = settings.run / f"{project}.json"
    file.write_text(json.dumps(spec))
    processes.start(project, ["/usr/bin/python3", CLOUD / "serve.py", file], {"PYTHONPATH": str(CLOUD / "plugins")})


def _files(settings: Settings, *names: str) -> list[str]:
    return [word for name in names for word in ("--config-file", str(settings.etc / f"{name}.conf"))]


def start_libvirt(settings: Settings, processes: Processes) -> None:
    if settings.real:
        processes.start("libvirtd", ["libvirtd"])
    for host in settings.real[1:]:
        processes.start(f"libvirtd-{host}", [*_on(settings, host), "libvirtd"])


def start_other_hosts(settings: Settings, processes: Processes) -> None:
    """What runs on real hosts but the first: their compute services and switches. Not before Neutron answers: see serve.py."""
    for host in settings.real[1:]:
        processes.start(f"nova-compute-{host}", [
            *_on(settings, host), "nova-compute", *_files(settings, "common", "nova", f"nova-real-{host}")
        ])  # fmt: skip
        processes.wait("neutron", lambda: _serves(f"http://{settings.address}:9696/"))
        processes.start(f"{_SWITCH}-{host}", [
            *_on(settings, host), _SWITCH, *_files(settings, "common", "neutron", f"neutron-agents-{host}")
        ])  # fmt: skip


def _on(settings: Settings, host: str) -> list[str]:
    """What puts a command into the namespaces of another real host."""
    return ["nsenter", "--target", (settings.run / host).read_text().strip(), "--net", "--mount", "--uts", "--"]


def wait_for_all(settings: Settings, processes: Processes, database_password: str) -> None:
    for name, url in {"glance": ":9292/", "placement": ":8778/", "neutron": ":9696/", "nova": ":8774/", "cinder": ":8776/"}.items():
        processes.wait(name, lambda url=url: _serves(f"http://{settings.address}{url}"))  # type: ignore[misc]
    hosts = len(settings.simulated) + len(settings.real)
    processes.wait(f"{hosts} compute hosts", lambda: _hosts_known(database_password) >= hosts)
    if settings.real:
        switches = {f"{_SWITCH}-{host}": _NEUTRON_AGENTS[_SWITCH] for host in settings.real[1:]}
        for name, (_, sign) in (_NEUTRON_AGENTS | switches).items():
            processes.wait(name, lambda name=name, sign=sign: _says(processes.log(name), sign))  # type: ignore[misc]


def _serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 # one of ours
            return bool(answer.status < 400)
    except urllib.error.HTTPError as problem:
        return problem.code < 500
    except OSError:
        return False


def _says(log: Path, sign: str) -> bool:
    return log.exists() and sign in log.read_text(errors="replace")


def _hosts_known(password: str) -> int:
    """Compute hosts that Nova's scheduler has found, and put into its cell."""
    with pymysql.connect(host="127.0.0.1", user="openstack", password=password, database="nova_api") as database, database.cursor() as rows:
        rows.execute("SELECT COUNT(*) FROM host_mappings")
        return int(rows.fetchone()[0])
