"""What the engine and the JVMs cost by themselves: the same containers, started by hand, with the same test of readiness.

The configuration is rendered before the clock starts. Nothing of labcloud runs in the measured time but `Readiness`.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import yaml

from labcloud.apply.ready import Readiness
from labcloud.apply.requests import CreateRequest, declared
from labcloud.apply.watch import Deadline, Watch
from labcloud.errors import EngineError
from labcloud.model import Cluster, ClusterRef, NodeRef
from labcloud.profiles import Profile, by_group, load, render
from labcloud.providers.base import Response
from labcloud.providers.docker.provider import DockerProvider

LIMIT = 300.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ByHand(DockerProvider):
    """Containers that carry no labels: their addresses are asked for by name."""

    def address(self, ref: NodeRef) -> str:
        if ref not in self._by_name:
            answer = docker("inspect", ref.qualified)
            networks = json.loads(answer)[0]["NetworkSettings"]["Networks"]
            self._by_name[ref] = next(iter(networks.values()))["IPAddress"]
        return self._by_name[ref]

    _by_name: dict[NodeRef, str]


class Floor:
    """One cluster, by hand. ``home`` gets the rendered configuration."""

    def __init__(self, profile: str, tenant: str, home: Path) -> None:
        self.profile: Profile = load(profile)
        self.network = f"floor-{tenant}"
        asked = declared(CreateRequest(ClusterRef(tenant, "floor"), profile), self.profile, user_id=20000)
        self.cluster: Cluster = replace(asked, image=f"labcloud/{profile}:latest")
        self.config = home / tenant
        for path, text in by_group(render(self.profile, self.cluster, self.network)).items():
            target = self.config / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        self._home = home

    def start(self) -> None:
        """The network, then all containers at once."""
        docker("network", "create", self.network)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda node: docker(*self.run_words(node)), self.cluster.nodes()))

    def run_words(self, node: NodeRef) -> list[str]:
        group = self.cluster.group(node.group)
        ports = [f"--publish=127.0.0.1::{port}" for port in self.published(node)]
        return [
            "run", "--detach", f"--name={node.qualified}", f"--hostname={node.name}", f"--domainname={self.domain(node)}",
            f"--dns-search={self.domain(node)}", f"--network={self.network}", f"--memory={group.memory}m", f"--cpus={group.cpus}",
            f"--volume={self.config / node.group}:/etc/labcloud/cluster:ro", f"--volume={node.qualified}.data-0:/data/0", *ports,
            self.cluster.image,
        ]  # fmt: skip

    def domain(self, node: NodeRef) -> str:
        return f"{node.cluster.name}.{node.cluster.tenant}.{self.network}"

    def published(self, node: NodeRef) -> list[int]:
        if self.profile.groups[node.group].scalable:
            return []
        return [each.ports[each.ui.port] for each in self.profile.services_of(node.group).values() if each.ui]

    def await_ready(self) -> None:
        provider = ByHand(self._home, "floor")
        provider._by_name = {}
        Readiness(provider, self.cluster, self.profile).wait(Watch(), Deadline(LIMIT))
        provider.close()

    def compose_file(self) -> Path:
        """The same containers as docker-compose takes them."""
        path = self.config / "docker-compose.yml"
        path.write_text(yaml.safe_dump(self._compose(), sort_keys=False))
        return path

    def _compose(self) -> Mapping[str, object]:
        services = {node.name: self._compose_service(node) for node in self.cluster.nodes()}
        volumes = {f"{node.name}-data": {"name": f"{node.qualified}.data-0"} for node in self.cluster.nodes()}
        return {"version": "2.4", "services": services, "volumes": volumes, "networks": {"default": {"name": self.network}}}

    def _compose_service(self, node: NodeRef) -> Mapping[str, object]:
        group = self.cluster.group(node.group)
        return {
            "image": self.cluster.image,
            "container_name": node.qualified,
            "hostname": node.name,
            "domainname": self.domain(node),
            "dns_search": self.domain(node),
            "mem_limit": f"{group.memory}m",
            "cpus": group.cpus,
            "volumes": [f"{self.config / node.group}:/etc/labcloud/cluster:ro", f"{node.name}-data:/data/0"],
            "ports": [f"127.0.0.1::{port}" for port in self.published(node)],
        }

    def remove(self) -> None:
        nodes = list(self.cluster.nodes())
        quietly("rm", "--force", *(node.qualified for node in nodes))
        quietly("volume", "rm", "--force", *(f"{node.qualified}.data-0" for node in nodes))
        quietly("network", "rm", self.network)


class Apart(Floor):
    """The same daemons as compose files of Hadoop are mostly written: a container for each daemon of the master, and the workers."""

    def __init__(self, profile: str, tenant: str, home: Path) -> None:
        super().__init__(profile, tenant, home)
        (self._master,) = self.cluster.nodes("master")
        self._domain = self.domain(self._master)
        for path in [path for path in self.config.rglob("*") if path.is_file()]:
            path.write_text(self._addressed(path.read_text(), path.name))
        for name in self._daemons():
            folder = self.config / name
            shutil.copytree(self.config / "master", folder)
            for other in self._daemons():
                if other != name:
                    (folder / "services" / other).unlink()

    def _daemons(self) -> list[str]:
        return list(self.profile.services_of("master"))

    def _addressed(self, text: str, file: str) -> str:
        """``text`` with each daemon's own host instead of the master's."""
        master = f"{self._master.name}.{self._domain}"
        for name, service in self.profile.services_of("master").items():
            for port in service.ports.values():
                text = text.replace(f"{master}:{port}", f"{name}.{self._domain}:{port}")
        return text.replace(master, f"{'namenode' if file == 'datanode' else 'resourcemanager'}.{self._domain}")

    def await_ready(self) -> None:
        ports = {port: name for name, each in self.profile.services_of("master").items() for port in each.ports.values()}
        provider = ByPort(self._home, "floor")
        provider.containers = {port: f"{name}.{self.cluster.ref.name}.{self.cluster.ref.tenant}" for port, name in ports.items()}
        provider.main = ports[self.profile.services["namenode"].ports["rpc"]]
        provider._by_name = {}
        Readiness(provider, self.cluster, self.profile).wait(Watch(), Deadline(LIMIT))
        provider.close()

    def _compose(self) -> Mapping[str, object]:
        written = dict(super()._compose())
        workers = {name: each for name, each in written["services"].items() if name != self._master.name}
        masters = {name: self._compose_daemon(name) for name in self._daemons()}
        volumes = {f"{name}-data": {"name": f"{name}.floor.data"} for name in masters}
        return {**written, "services": {**masters, **workers}, "volumes": {**written["volumes"], **volumes}}

    def _compose_daemon(self, name: str) -> Mapping[str, object]:
        ui = self.profile.services[name].ui
        ports = [f"127.0.0.1::{self.profile.services[name].ports[ui.port]}"] if ui else []
        return {
            "image": self.cluster.image, "container_name": f"{name}.{self.cluster.ref.name}.{self.cluster.ref.tenant}", "hostname": name,
            "domainname": self._domain, "dns_search": self._domain, "ports": ports,
            "volumes": [f"{self.config / name}:/etc/labcloud/cluster:ro", f"{name}-data:/data/0"],
        }  # fmt: skip

    def remove(self) -> None:
        names = self._daemons()
        quietly("rm", "--force", *(f"{name}.{self.cluster.ref.name}.{self.cluster.ref.tenant}" for name in names))
        quietly("volume", "rm", "--force", *(f"{name}.floor.data" for name in names))
        super().remove()


class Written(Apart):
    """As somebody writes a compose file who has these images and Hadoop's own manual.

    A container for each daemon of the master; the daemons are started by `hdfs` and `yarn`, the file system is formatted at its first
    start; no flags for the JVMs, no supervisor.
    """

    def _compose_daemon(self, name: str) -> Mapping[str, object]:
        return {**super()._compose_daemon(name), **self._by_commands("master", [name])}

    def _compose_service(self, node: NodeRef) -> Mapping[str, object]:
        mounted = super()._compose_service(node)
        ours = self._by_commands(node.group, list(self.profile.services_of(node.group)))
        return {**mounted, **ours, "volumes": [*ours["volumes"], f"{node.name}-data:/data/0"]}

    def _by_commands(self, group: str, names: Sequence[str]) -> Mapping[str, object]:
        """What of a compose service starts the daemons ``names``, each as its own user, the last as the container's main program."""
        lines = ["install -d -m 1775 -g hadoop /var/log/hadoop"]
        for name in names:
            service = self.profile.services[name]
            program = {"hdfs": "hdfs", "yarn": "yarn", "mapred": "mapred"}[service.user]
            folders = [each.removeprefix("file://") for each in self._folders(group, name)]
            lines.append(f"install -d -m 750 -o {service.user} -g hadoop {' '.join(folders)}" if folders else "true")
            if name == "namenode":
                lines.append("s6-setuidgid hdfs hdfs namenode -format -nonInteractive")
            lines.append(f"s6-setuidgid {service.user} {program} {name} &")
        return {
            "entrypoint": ["bash", "-c", "; ".join(lines).replace("&;", "&") + " wait"],
            "environment": {"JAVA_HOME": "/opt/java", "HADOOP_HOME": "/opt/stacks/hadoop", "PATH": f"/opt/stacks/hadoop/bin:{_PATH}"},
            "volumes": [
                f"{self.config / (group if group == 'worker' else names[0]) / 'conf'}:/etc/labcloud/cluster/conf:ro",
                *self._data(names),
            ],
        }

    def _data(self, names: Sequence[str]) -> list[str]:
        return [f"{names[0]}-data:/data/0"] if names[0] in self._daemons() else []

    def _folders(self, group: str, name: str) -> list[str]:
        text = (self.config / ("worker" if group == "worker" else name) / "services" / name).read_text()
        said = next(line for line in text.splitlines() if line.startswith("SERVICE_DIRS="))
        return said.partition("=")[2].strip("'").split()


class ByPort(ByHand):
    """The master's daemons are in containers of their own, told by their ports."""

    containers: dict[int, str]
    main: str

    def address(self, ref: NodeRef) -> str:
        return super().address(ref) if ref.group == "worker" else self._container(self.main_container(ref))

    def main_container(self, ref: NodeRef) -> str:
        return f"{self.main}.{ref.cluster.name}.{ref.cluster.tenant}"

    def request(self, ref: NodeRef, port: int, path: str, **options: object) -> Response:
        if ref.group == "worker":
            return super().request(ref, port, path, **options)
        connection = http.client.HTTPConnection(self._container(self.containers[port]), port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return Response(answer.status, answer.read(), dict(answer.getheaders()))
        except OSError as exc:
            raise EngineError(f"nothing listens on port {port}") from exc
        finally:
            connection.close()

    def _container(self, name: str) -> str:
        if name not in self._addresses_by_container:
            networks = json.loads(docker("inspect", name))[0]["NetworkSettings"]["Networks"]
            self._addresses_by_container[name] = next(iter(networks.values()))["IPAddress"]
        return self._addresses_by_container[name]

    @cached_property
    def _addresses_by_container(self) -> dict[str, str]:
        return {}


@contextmanager
def removed(floors: Sequence[Floor]) -> Iterator[None]:
    """Remove what is left of ``floors`` before and after."""

    def remove() -> None:
        for each in floors:
            each.remove()

    remove()
    try:
        yield
    finally:
        remove()


def together(actions: Sequence[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(actions)) as pool:
        for future in [pool.submit(action) for action in actions]:
            future.result()


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout


def quietly(*words: str) -> None:
    subprocess.run(["docker", *words], check=False, capture_output=True)
