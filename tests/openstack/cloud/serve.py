"""Runs several services of one OpenStack project, which loads the project's code once for all of them.

Each service is the distribution's own entry point, in a process of its own with arguments of its own. It is only forked from a process
that has imported that code already, rather than started by a fresh Python: the four services of Cinder or the seven of Nova start in a
third of the time and memory. ``serve.py SERVICES.json``, where the file says::

    {"pids": folder, "logs": folder, "configuration": [argument, ...], "preload": [module or module:function, ...],
     "services": {name: [module with main(), argument, ...]}, "first": URL or ""}

Where ``first`` is given, the first service has to answer there before the others are started: what asks it too early waits for its own
time-out, a minute of Neutron's agents.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import eventlet.hubs
import eventlet.patcher

sys.path = [each for each in sys.path if each != str(Path(__file__).resolve().parent)]  # the services see no module of this folder


def main() -> None:
    wanted = json.loads(Path(sys.argv[1]).read_text())
    modules = {name: importlib.import_module(entry) for name, (entry, *_) in wanted["services"].items()}
    from oslo_config import cfg  # not before the services, which make it and what it brings fit for eventlet

    # Some modules read their options while they are loaded, as those of periodic tasks; each service reads its own again.
    cfg.CONF(wanted["configuration"], project="labcloud", default_config_files=[], default_config_dirs=[])
    for each in wanted["preload"]:
        module, _, function = each.partition(":")
        loaded = importlib.import_module(module)
        if function:
            getattr(loaded, function)()
    cfg.CONF.clear()
    names = {}
    for name, (_, *arguments) in wanted["services"].items():
        pid = os.fork()
        if pid == 0:
            become(name, arguments, Path(wanted["logs"]) / f"{name}.log")
            sys.exit(modules[name].main())
        if wanted["first"] and not names:
            await_answer(wanted["first"], pid)
        names[pid] = name
        (Path(wanted["pids"]) / name).write_text(str(pid))
    # Not eventlet's, which asks again and again.
    ended, status = eventlet.patcher.original("os").waitpid(-1, 0)
    sys.exit(f"{names[ended]} ended with {os.waitstatus_to_exitcode(status)}; see its log")


def await_answer(url: str, pid: int) -> None:
    """Until there is one, or the service has ended, or whoever started all of this gives up."""
    while not os.waitpid(pid, os.WNOHANG)[0]:
        try:
            urllib.request.urlopen(url, timeout=10).close()  # noqa: S310 - one of ours
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.exit(f"the service of {url} ended; see its log")


def become(name: str, arguments: list[str], log: Path) -> None:
    """What a process that was started by itself would have: a session, a log, arguments, and a hub of eventlet that it shares with none."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.argv = [name, *arguments]
    eventlet.hubs.use_hub()


if __name__ == "__main__":
    main()
