"""An Ansible inventory of machines that are there. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from labcloud.ansible.content import Content


@dataclass(frozen=True)
class Host:
    """A machine that shall be configured: its name for people, where and as whom ssh reaches it, by which options, and what it is told."""

    name: str
    address: str
    user: str
    ssh_options: Sequence[str]
    content: Content


def inventory(hosts: Iterable[Host]) -> dict[str, Any]:
    """The hosts, each with how it is reached and what it is told. Python is where Debian has it, so that Ansible need not look for it."""
    return {
        "all": {
            "vars": {"ansible_python_interpreter": "/usr/bin/python3"},
            "hosts": {
                host.name: {
                    "ansible_host": host.address,
                    "ansible_user": host.user,
                    "ansible_ssh_common_args": shlex.join(host.ssh_options),
                    "labcloud_content": host.content.archive().decode(),
                }
                for host in hosts
            },
        }
    }
