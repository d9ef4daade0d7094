"""A node's files in a folder, where the scripts of the image run without being root: LABCLOUD_ROOT says where they are.

What only root could do is done by stubs in ``bin``, which note what they were asked for in ``asked``.
"""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Mapping
from pathlib import Path

from labcloud.images import declarations

LIB = declarations.FOLDER / "base/files/usr/lib/labcloud"
STUBS = {
    "s6-setuidgid": '#!/bin/sh\nprintf "as %s\\n" "$1" >>"$LABCLOUD_ROOT/asked"\nshift\nexec "$@"\n',
    "install": '#!/bin/sh\nfor folder; do :; done\nmkdir -p "$folder"\n',
    "chown": '#!/bin/sh\nprintf "chown %s\\n" "$2" >>"$LABCLOUD_ROOT/asked"\n',
    # Paths in the file foreign are acme's.
    "stat": "#!/bin/sh\n"
    '/usr/bin/stat "$@" | while IFS="\t" read -r path id rest; do\n'
    '    if grep -qxF "$path" "$LABCLOUD_ROOT/foreign"; then id=20000 rest="${rest%\t*\t*}\tacme\thadoop"; fi\n'
    '    printf "%s\\t%s\\t%s\\n" "$path" "$id" "$rest"\n'
    "done\n",
}
ME, MY_GROUP = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name


class Node:
    """A node below ``root``."""

    def __init__(self, root: Path, stubs: Mapping[str, str] = STUBS) -> None:
        self.root = root
        for folder in ("bin", "etc", "home", "run", "usr/lib", "usr/local", "opt", "var/lib", "var/log"):
            (root / folder).mkdir(parents=True)
        (root / "usr/lib/labcloud").symlink_to(LIB)
        for name, text in stubs.items():
            self.put(f"bin/{name}", text).chmod(0o755)
        self.put("foreign", "")
        self.put("asked", "")
        self.put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
        self.put("etc/group", "hadoop:x:900:\nsupergroup:x:904:\n")
        self.put("etc/labcloud/cluster/node.env", "LABCLOUD_TENANT=acme\nLABCLOUD_USER_ID=20000\n")

    def put(self, path: str, text: str) -> Path:
        there = self.root / path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        return there

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def mode(self, path: str) -> int:
        return (self.root / path).lstat().st_mode & 0o7777

    def asked(self) -> list[str]:
        """What the stubs were asked for since this was asked."""
        lines = self.read("asked").splitlines()
        self.put("asked", "")
        return lines

    def run(self, script: str, *argv: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Done:
        environment = {"PATH": f"{self.root}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LABCLOUD_ROOT": str(self.root), **(env or {})}
        ended = subprocess.run(
            [str(LIB / script), *argv], input=stdin, capture_output=True, timeout=60, env=environment, cwd=cwd or self.root, check=False
        )
        return Done(ended)

    def declare(self, *lines: str, **contents: str) -> None:
        """The manifest, with fields that are separated by spaces here, and the contents of files by their names."""
        self.put("etc/labcloud/cluster/declared/manifest", "".join("\t".join(line.split(" ")) + "\n" for line in lines))
        for name, text in contents.items():
            self.put(f"etc/labcloud/cluster/declared/{name}", text)


class Done:
    """How a script ended."""

    def __init__(self, ended: subprocess.CompletedProcess[bytes]) -> None:
        self.code = ended.returncode
        self.output = ended.stdout
        self.lines = ended.stdout.decode(errors="replace").splitlines()
        self.said = ended.stderr.decode(errors="replace")
