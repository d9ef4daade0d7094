"""What the acceptance tests drive: the real command line in a process of its own, and what Hadoop and Docker say of the result."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

import hdfs_native

Answer = TypeVar("Answer")

PROGRAM = Path(sys.executable).with_name("labcloud")
_LICENCES = Path("/usr/share/common-licenses")


def real_text() -> bytes:
    """The licences that Debian is distributed under, and words beyond ASCII."""
    files = sorted(path for path in _LICENCES.iterdir() if path.is_file() and not path.is_symlink())
    return b"".join(path.read_bytes() for path in files) + "größe naïve größe данные データ\n".encode()


def count_words(content: bytes) -> Counter[str]:
    """What wordcount has to find: it splits at what Java's StringTokenizer splits at."""
    return Counter(word.decode() for word in re.split(rb"[ \t\n\r\f]+", content) if word)


def read_counts(content: bytes) -> dict[str, int]:
    """The counts in what wordcount wrote."""
    pairs = (line.rsplit("\t", 1) for line in content.decode().splitlines())
    return {word: int(count) for word, count in pairs}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def load(client: hdfs_native.Client, path: str) -> bytes:
    with client.read(path) as file:
        return bytes(file.read())


def wait_for(what: str, ask: Callable[[], Answer], *, seconds: float = 60) -> Answer:
    """Ask again and again until the answer is true; return it. Fail with ``what`` and the last answer after ``seconds``. Asking takes half
    of the time at most: whoever is waited for may need the same processors."""
    end = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if answer := ask():
            return answer
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}; the last answer was {answer!r}"
        time.sleep(min(2.0, max(0.1, time.monotonic() - began)))


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode().strip()

    @property
    def said(self) -> str:
        return self.stderr.decode(errors="replace")

    def __str__(self) -> str:
        return f"{' '.join(self.argv)} ended with {self.code}\n{self.stdout.decode(errors='replace')[-3000:]}\n{self.said[-6000:]}"


def run(
    argv: Sequence[str], *, expect: int | None = 0, stdin: bytes = b"", timeout: float = 240, env: Mapping[str, str] | None = None
) -> Done:
    """Run a program; fail with all that it said unless it ended with ``expect`` (None: any way)."""
    ended = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, env=env, check=False)
    done = Done(tuple(argv), ended.returncode, ended.stdout, ended.stderr)
    assert expect is None or done.code == expect, f"{expect} was expected: {done}"
    return done


def docker(*argv: str) -> str:
    return run(("docker", *argv), timeout=60).text


def http(url: str, timeout: float = 5) -> Any:
    """The JSON that a page answers with; nothing if it does not answer (yet)."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 - addresses of the cluster under test
            return json.loads(answer.read())
    except (OSError, urllib.error.URLError, ValueError):
        return None


@dataclass(frozen=True)
class Labcloud:
    """labcloud on a lab of its own at ``home``."""

    home: Path
    cache: Path

    @property
    def env(self) -> dict[str, str]:
        return os.environ | {"LABCLOUD_HOME": str(self.home), "LABCLOUD_CACHE": str(self.cache), "NO_COLOR": "1"}

    def __call__(self, *argv: str, expect: int | None = 0, stdin: bytes = b"", timeout: float = 240) -> Done:
        return run((str(PROGRAM), *argv), expect=expect, stdin=stdin, timeout=timeout, env=self.env)

    def json(self, *argv: str, **options: Any) -> Any:
        return json.loads(self(*argv, "-o", "json", **options).stdout)

    def begin(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start labcloud and go on; its messages come unbuffered."""
        return subprocess.Popen((str(PROGRAM), *argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env)

    def begin_fed(self, *argv: str) -> subprocess.Popen[bytes]:
        """As `begin`, with a standard input that somebody writes to."""
        return subprocess.Popen((str(PROGRAM), *argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env)

    def kill_after(self, lines: int, *argv: str, with_signal: signal.Signals = signal.SIGKILL) -> Done:
        """Start labcloud, and end it with a signal as soon as it has written so many lines of progress."""
        process = self.begin(*argv)
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(lines)]
        process.send_signal(with_signal)
        done = ended(process)
        return replace(done, stderr=b"".join(said) + done.stderr)

    @property
    def id(self) -> str:
        path = self.home / "lab-id"
        return path.read_text().strip() if path.exists() else ""

    def leftovers(self, of: str = "") -> list[str]:
        """Containers, networks, volumes and folders of clusters of this lab, or of one tenant ``of`` it."""
        mine = f"label=labcloud.lab={self.id}"
        found = docker("ps", "-a", "--format", "container {{.Names}}", "--filter", mine).splitlines()
        found += docker("network", "ls", "--format", "network {{.Name}}", "--filter", mine).splitlines()
        found += docker("volume", "ls", "--format", "volume {{.Name}}", "--filter", mine).splitlines()
        folders = (path for name in ("rendered", "locks", "lab/clusters", "datasets/views") for path in (self.home / name).rglob("*"))
        return [each for each in (*found, *(f"file {path.relative_to(self.home)}" for path in folders)) if of in each]


@dataclass
class Cluster:
    """One cluster as its tenant and its operator see it."""

    labcloud: Labcloud
    tenant: str
    profile: str
    name: str = ""
    files: dict[str, str] = field(default_factory=dict)  # what has to be in HDFS: path → digest

    def __post_init__(self) -> None:
        self.name = self.name or self.profile

    @property
    def ref(self) -> str:
        return f"{self.tenant}/{self.name}"

    def create(self, *options: str) -> Any:
        return self.labcloud.json("create", self.profile, "--tenant", self.tenant, "--name", self.name, *options)

    def show(self) -> Any:
        return self.labcloud.json("show", self.ref)

    def exec(self, *argv: str, node: str = "master-0", user: str = "", expect: int | None = 0, stdin: bytes | None = None) -> Done:
        options = ["--node", node, *(("--user", user) if user else ()), *(("-i",) if stdin is not None else ())]
        return self.labcloud("exec", *options, self.ref, "--", *argv, expect=expect, stdin=stdin or b"")

    def submit(self, *argv: str) -> Done:
        """Run an example to its end."""
        return self.labcloud("submit", self.ref, "examples", *argv)

    def begin(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start an example and go on."""
        return self.labcloud.begin("submit", self.ref, "examples", *argv)

    def delete(self) -> None:
        self.labcloud("delete", "--yes", self.ref)

    def rendered(self, path: str) -> Path:
        """A file of the nodes' configuration, as labcloud has it."""
        return self.labcloud.home / "rendered" / self.tenant / self.name / path

    # The names that Docker knows

    def container(self, node: str) -> str:
        return f"{node}.{self.name}.{self.tenant}"

    def pid(self, node: str) -> int:
        """The process number, on this machine, of a node's first process."""
        return int(docker("inspect", "--format", "{{.State.Pid}}", self.container(node)))

    def gateway(self) -> str:
        """This machine's address in the tenant's network: the subnet's first."""
        subnet = docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", f"labcloud-{self.tenant}")
        return str(ip_network(subnet)[1])

    # State

    def states(self) -> dict[str, str]:
        """``NODE`` and ``NODE/SERVICE`` → status."""
        nodes = self.show()["nodes"]
        return {node["name"]: node["status"] for node in nodes} | {
            f"{node['name']}/{service['name']}": service["status"] for node in nodes for service in node["services"]
        }

    def wait_until_all_runs(self, seconds: float = 90) -> dict[str, str]:
        """Wait until every node runs and every service answers, companions included."""
        last: dict[str, str] = {}

        def running() -> bool:
            last.clear()
            last.update(self.states())
            return set(last.values()) == {"running"}

        wait_for(f"all services of {self.ref}: {last}", lambda: running() or None, seconds=seconds)
        assert self.show()["status"] == "ready"
        return last

    def page(self, service: str, path: str) -> Any:
        """A JSON page of a published user interface."""
        base = self.endpoint(service)
        return lambda: http(base + path)

    def endpoint(self, service: str) -> str:
        """Where a user interface is published, as ``http://127.0.0.1:32768``."""
        base = re.match(r"http://127\.0\.0\.1:\d+", self.show()["endpoints"][service])
        assert base
        return base[0]

    # HDFS

    def put(self, path: str, content: bytes) -> None:
        self.exec("hdfs", "dfs", "-put", "-", path, stdin=content)
        self.files[path] = digest(content)

    def cat(self, path: str) -> bytes:
        return self.exec("hdfs", "dfs", "-cat", path).stdout

    def check_files(self) -> None:
        """Every file that was put is there, byte for byte, and no block is lost or short of replicas."""
        wait_for("a healthy file system", self.healthy, seconds=90)
        client, home = self.hdfs(), f"/user/{self.tenant}"
        assert {path: digest(load(client, f"{home}/{path}")) for path in self.files} == self.files

    def healthy(self) -> bool:
        """Whether fsck finds nothing missing, corrupt or short of replicas."""
        try:
            with urllib.request.urlopen(self.endpoint("namenode") + "/fsck?ugi=hdfs&path=/", timeout=20) as answer:  # noqa: S310
                report = answer.read().decode()
        except OSError:
            return False
        shortages = re.findall(r"(?:Missing replicas|Corrupt blocks|Under-replicated blocks|Missing blocks):\s+(\d+)", report)
        return "is HEALTHY" in report and len(shortages) >= 3 and not any(map(int, shortages))

    def hdfs(self) -> hdfs_native.Client:
        """HDFS' own protocol, as the tenant, from this process."""
        os.environ["HADOOP_USER_NAME"] = self.tenant
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return hdfs_native.Client(f"hdfs://{docker('inspect', '--format', form, self.container('master-0'))}:8020")

    def datanodes(self) -> dict[str, Any]:
        """What the NameNode says of each DataNode in service, by the node's name. (One that left is remembered for a while.)"""
        bean = self.page("namenode", "/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo")()["beans"][0]
        live = json.loads(bean["LiveNodes"]).items()
        return {name.split(".")[0]: facts for name, facts in live if facts["adminState"] == "In Service"}

    # YARN

    def nodemanagers(self) -> dict[str, Any]:
        nodes = self.page("resourcemanager", "/ws/v1/cluster/nodes")()["nodes"]["node"]
        return {node["nodeHostName"].split(".")[0]: node for node in nodes if node["state"] == "RUNNING"}

    def running_app(self, progress: float = 0) -> dict[str, Any]:
        """The application that runs, once it has come so far (percent)."""
        page = self.page("resourcemanager", "/ws/v1/cluster/apps?states=RUNNING")

        def one() -> dict[str, Any] | None:
            apps = ((page() or {}).get("apps") or {}).get("app") or []
            return next((app for app in apps if app["progress"] > progress and app.get("amHostHttpAddress")), None)

        found = wait_for(f"a running application at {progress} %", one, seconds=90)
        assert found is not None
        return found


def ended(process: subprocess.Popen[bytes], *, seconds: float = 240) -> Done:
    """Wait for a process that was begun."""
    with process:
        stdout, stderr = process.communicate(timeout=seconds)
    return Done(tuple(map(str, process.args)), process.returncode, stdout, stderr)  # type: ignore[arg-type]
