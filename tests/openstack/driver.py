"""labcloud's test cloud as tests use it: started and stopped by its scripts, then spoken to like any other OpenStack.

Tests are ordinary processes of the machine. The cloud's processes live in namespaces of their own, but a link leads there, as to a real
cloud: its APIs have an address that the machine reaches, and so has every floating IP. Nothing needs to enter the namespaces for that;
``Cloud.inside`` does, for what an operator would look at on the cloud's own hosts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openstack
import pytest
from openstack.connection import Connection

SCRIPTS = Path(__file__).parent / "cloud"


class CloudError(Exception):
    """One of the cloud's commands failed: one line, with the end of what it said."""


@dataclass(frozen=True)
class Cloud:
    clouds_yaml: Path
    admin: Connection
    """Sees all, in the project ``admin``."""
    member: Connection
    """No administrator, in the project ``member``: what labcloud is to make do with."""

    @property
    def environment(self) -> dict[str, str]:
        """For processes that shall use the cloud as the member."""
        return {"OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml), "OS_CLOUD": "member", "no_proxy": without_proxy(self.address)}

    @property
    def address(self) -> str:
        return str(self.member.config.get_auth_args()["auth_url"]).split("/")[2].split(":")[0]

    def inside(self, *argv: str) -> str:
        """What a command prints that runs in the cloud's namespaces, as root."""
        return script("in.sh", *argv)


@contextmanager
def connected(clouds_yaml: Path) -> Iterator[Cloud]:
    cloud = connect(clouds_yaml)
    try:
        yield cloud
    finally:
        for each in (cloud.admin, cloud.member):
            each.close()
            each.session.session.close()


@contextmanager
def own_cloud(name: str, **settings: str) -> Iterator[Cloud]:
    """Another cloud than the run's, beside it: ``settings`` are those of ``settings.sh``, as ``GUESTS``. It leaves nothing."""
    with pytest.MonkeyPatch.context() as patch:
        state = os.environ.get("LABCLOUD_TEST_CLOUD") or "/var/tmp/labcloud-test-cloud"
        for setting, value in {"": f"{state}-{name}", **{f"_{each}": value for each, value in settings.items()}}.items():
            patch.setenv(f"LABCLOUD_TEST_CLOUD{setting}", value)
        script("install.sh")
        try:
            with connected(start()) as made:
                yield made
        finally:
            script("stop.sh", "--wipe")
        assert leftovers() == []


def connect(clouds_yaml: Path) -> Cloud:
    def connection(user: str) -> Connection:
        # Not openstack.connect(): a clouds.yaml in the current folder would override this one.
        config = openstack.config.OpenStackConfig(config_files=[str(clouds_yaml)], load_envvars=False)
        return Connection(config=config.get_one(cloud=user))

    cloud = Cloud(clouds_yaml, connection("admin"), connection("member"))
    os.environ["no_proxy"] = without_proxy(cloud.address)
    return cloud


def without_proxy(address: str) -> str:
    """The hosts that are spoken to without a proxy, and this one."""
    return ",".join(dict.fromkeys([*filter(None, os.environ.get("no_proxy", "").split(",")), address]))


def runs() -> bool:
    return subprocess.run([SCRIPTS / "in.sh", "true"], capture_output=True, check=False).returncode == 0


def script(name: str, *arguments: str, timeout: float = 900) -> str:
    """What one of the cloud's commands prints. What it says meanwhile goes on to whoever runs the tests, and is the failure's reason."""
    ended = subprocess.run([SCRIPTS / name, *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    sys.stderr.write(ended.stderr)
    if ended.returncode != 0:
        raise CloudError(f"{name} ended with {ended.returncode}: " + " | ".join(ended.stderr.splitlines()[-6:]))
    return ended.stdout.strip()


def start() -> Path:
    """The cloud; its clouds.yaml. Some twenty daemons come up for it on a busy machine: if one doesn't, they are started once
    more, and the run says so."""
    try:
        return Path(script("start.sh"))
    except CloudError as problem:
        warnings.warn(f"the test cloud is started once more: {problem}", stacklevel=2)
        return Path(script("start.sh"))


def leftovers() -> list[str]:
    """What a stopped cloud has left on the machine; nothing, if all is well."""
    state = os.path.realpath(os.environ.get("LABCLOUD_TEST_CLOUD") or "/var/tmp/labcloud-test-cloud")
    loops = subprocess.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"], capture_output=True, text=True, check=True)
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
    own = _link(state)
    groups = [str(each) for each in Path("/sys/fs/cgroup").glob(f"*/{own}")]
    found = [line for line in [*loops.stdout.splitlines(), *mounts] if f"{state}/run" in line]
    found += [line for line in links if line.split("@")[0] == own]
    return found + groups + _processes(f"{state}/run") + [str(each) for each in Path(state).glob("run")]


def _link(state: str) -> str:
    """The name of the link to the cloud in the folder ``state``, and of its control group: see ``settings.sh``."""
    checksum = subprocess.run(["cksum"], input=state, capture_output=True, text=True, check=True).stdout.split()[0]
    return f"labcloud-{int(checksum) % 256}"


def _processes(folder: str) -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if folder in command:
            found.append(command)
    return found
