"""The shell scripts of images: checked by shellcheck, and run, with a Java that only says how it was called."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from labcloud.images import declarations

FOLDER = declarations.FOLDER
SCRIPTS = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path.read_bytes()[:2] == b"#!")
COMMANDS = """\
hdfs\tdfs\torg.apache.hadoop.fs.FsShell\tclient\trun a filesystem command
hdfs\tnamenode\torg.example.NameNode\tdaemon\trun the NameNode
hdfs\tclasspath\torg.example.Classpath\tclasspath\tprint the class path
hadoop\tjar\torg.apache.hadoop.util.RunJar\tclient\trun a jar file
hadoop\tdistcp\torg.example.DistCp\tclient tools\tcopy
hadoop\tdfs\torg.apache.hadoop.fs.FsShell\tclient deprecated=hdfs\tuse hdfs dfs
yarn\tapplication\torg.example.ApplicationCLI\tclient args=application\treport applications
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A distribution whose Java prints its arguments."""
    home = tmp_path / "hadoop"
    for folder in ("bin", "libexec"):
        (home / folder).mkdir(parents=True)
        for source in (FOLDER / "stack/files" / folder).iterdir():
            target = home / folder / source.name
            target.write_bytes(source.read_bytes())
            target.chmod(0o755)
    (home / "libexec/commands").write_text(COMMANDS)
    (home / "libexec/classpath").write_text("/h/a.jar:/h/b.jar\n")
    java = tmp_path / "java/bin/java"
    java.parent.mkdir(parents=True)
    java.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    java.chmod(0o755)
    (tmp_path / "node.env").write_text("HADOOP_OPTS='-Dcluster=1'\nHADOOP_CLIENT_OPTS='-Xmx9m'\n")
    return home


def run(home: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": "/usr/bin:/bin", "JAVA_HOME": str(home.parent / "java"), "HADOOP_HOME": str(home)}
    base |= {"LABCLOUD_NODE_ENV": str(home.parent / "node.env"), "HADOOP_CONF_DIR": "/conf"}
    return subprocess.run([str(home / "bin" / argv[0]), *argv[1:]], env=base | environment, capture_output=True, text=True, check=False)


def test_shellcheck_has_nothing_to_say() -> None:
    shared = [FOLDER / "stack/files/libexec/launch", FOLDER / "base/files/etc/profile.d/labcloud.sh"]
    assert len(SCRIPTS) >= 10
    for script in (*SCRIPTS, *shared):
        shell = ["-s", "sh"] if script.suffix == ".sh" else []
        done = subprocess.run(
            ["shellcheck", "-x", "-P", str(script.parent), *shell, str(script)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_a_subcommand_becomes_its_class_with_the_clusters_flags_before_the_users(home: Path) -> None:
    said = run(
        home, "hdfs", "dfs", "-ls", "/a b", HADOOP_OPTS="-Dmine=1", HADOOP_CLIENT_OPTS="-Xmx5m", HADOOP_HEAPSIZE="7"
    ).stdout.splitlines()
    assert said[-5:] == ["-cp", "/h/a.jar:/h/b.jar:/conf", "org.apache.hadoop.fs.FsShell", "-ls", "/a b"]
    flags = [each for each in said if each.startswith("-Xmx") or each in ("-Dcluster=1", "-Dmine=1")]
    assert flags == ["-Dcluster=1", "-Xmx9m", "-Xmx7m", "-Dmine=1", "-Xmx5m"]


def test_a_daemon_takes_its_own_flags_and_not_the_clients(home: Path) -> None:
    said = run(home, "hdfs", "namenode", "-upgrade", HDFS_NAMENODE_OPTS="-Xmx1g", HADOOP_CLIENT_OPTS="-Dclient").stdout.splitlines()
    assert "-Xmx1g" in said
    assert "-Dclient" not in said
    assert "-Xmx9m" not in said
    assert said[-2:] == ["org.example.NameNode", "-upgrade"]


def test_a_class_name_runs_and_anything_else_is_refused(home: Path) -> None:
    assert run(home, "hadoop", "org.example.Main", "x").stdout.splitlines()[-2:] == ["org.example.Main", "x"]
    refused = run(home, "hadoop", "nonsense")
    assert refused.returncode == 1
    assert refused.stderr == "ERROR: nonsense is not COMMAND nor fully qualified CLASSNAME.\n"


def test_usage(home: Path) -> None:
    asked, bare = run(home, "hdfs", "--help"), run(home, "hdfs")
    assert (asked.returncode, bare.returncode) == (0, 1)
    assert asked.stdout == bare.stderr
    assert "run a filesystem command" in asked.stdout
    assert "run a jar file" not in asked.stdout


def test_options_of_the_command_line(home: Path, tmp_path: Path) -> None:
    said = run(home, "hdfs", "--config", str(tmp_path), "--loglevel", "DEBUG", "dfs").stdout
    assert f":{tmp_path}\n" in said
    assert "-Dhadoop.root.logger=DEBUG,console" in said
    assert run(home, "hdfs", "--config", "/nowhere", "dfs").stderr == "ERROR: No such directory: /nowhere\n"


@pytest.mark.parametrize(("first", "path"), [("", "/h/a.jar:/h/b.jar:/conf:/mine/*"), ("true", "/mine/*:/h/a.jar:/h/b.jar:/conf")])
def test_the_users_class_path(home: Path, first: str, path: str) -> None:
    said = run(home, "hdfs", "classpath", HADOOP_CLASSPATH="/mine/*", HADOOP_USER_CLASSPATH_FIRST=first).stdout
    assert said == path + "\n"


def test_the_users_libraries_come_before_those_that_the_jvm_would_load_by_itself(home: Path) -> None:
    own = "-Xbootclasspath/a:/h/libraries.jar"
    (home.parent / "node.env").write_text(f"HADOOP_OPTS='-Dcluster=1 {own} -Dcluster=2'\n")
    assert own in run(home, "hdfs", "dfs", HADOOP_CLASSPATH="/mine/*").stdout.splitlines()
    said = run(home, "hdfs", "dfs", HADOOP_CLASSPATH="/mine/*", HADOOP_USER_CLASSPATH_FIRST="true").stdout.splitlines()
    assert own not in said
    assert {"-Dcluster=1", "-Dcluster=2"} <= set(said)


def test_options_of_subcommands(home: Path) -> None:
    assert "share/hadoop/tools/lib/*" in run(home, "hadoop", "distcp").stdout
    assert run(home, "yarn", "application", "-list").stdout.splitlines()[-2:] == ["application", "-list"]
    assert "Instead use the hdfs command" in run(home, "hadoop", "dfs").stderr
    assert f"HADOOP_HOME='{home}'" in run(home, "yarn", "envvars").stdout


def test_an_unsupervised_daemon_is_started_seen_and_stopped(home: Path, tmp_path: Path) -> None:
    (tmp_path / "java/bin/java").write_text("#!/bin/sh\nexec sleep 60\n")
    places = {"HADOOP_PID_DIR": str(tmp_path), "HADOOP_LOG_DIR": str(tmp_path), "USER": "someone"}
    codes = [
        run(home, "hdfs", "--daemon", act, "namenode", **places).returncode
        for act in ("status", "start", "status", "start", "stop", "status")
    ]
    assert codes == [3, 0, 0, 1, 0, 3]


def prepare(home: Path, tmp_path: Path, identity: str) -> subprocess.CompletedProcess[str]:
    template = home / "libexec/namenode/current"
    template.mkdir(parents=True, exist_ok=True)
    (template / "VERSION").write_text("namespaceID=@NAMESPACE_ID@\nclusterID=@CLUSTER_ID@\nblockpoolID=@BLOCKPOOL_ID@\n")
    (template / "fsimage_7").write_text("image")
    conf = tmp_path / "conf"
    conf.mkdir(exist_ok=True)
    dirs = f"file://{tmp_path}/n1,file://{tmp_path}/n2"
    (conf / "hdfs-site.xml").write_text(f"<property><name>dfs.namenode.name.dir</name>\n<value>{dirs}</value></property>")
    for name in ("n1", "n2"):
        (tmp_path / name).mkdir(exist_ok=True)
    environment = {"PATH": "/usr/bin:/bin", "HADOOP_HOME": str(home), "HADOOP_CONF_DIR": str(conf), "LABCLOUD_CLUSTER_ID": identity}
    script = FOLDER / "base/files/usr/lib/labcloud/prepare/namenode"
    return subprocess.run([str(script)], env=environment, capture_output=True, text=True, check=False)


def test_a_file_system_is_made_with_the_clusters_identity_and_never_touched_again(home: Path, tmp_path: Path) -> None:
    identity = "f" * 16 + "0" * 16
    assert prepare(home, tmp_path, identity).returncode == 0
    version = (tmp_path / "n1/current/VERSION").read_text()
    assert version == f"namespaceID=2147483647\nclusterID=CID-{identity}\nblockpoolID=BP-2147483647-127.0.0.1-1500000000000\n"
    assert (tmp_path / "n2/current/VERSION").read_text() == version
    (tmp_path / "n1/current/fsimage_7").write_text("used")
    assert prepare(home, tmp_path, identity).returncode == 0
    assert (tmp_path / "n1/current/fsimage_7").read_text() == "used"


def test_the_file_system_of_another_cluster_is_refused(home: Path, tmp_path: Path) -> None:
    prepare(home, tmp_path, "a" * 32)
    refused = prepare(home, tmp_path, "b" * 32)
    assert refused.returncode == 1
    assert "holds the file system of another cluster, CID-aaaa" in refused.stderr


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{\n  "NumActiveNMs" : 2,\n  "path" : "' + self.path.encode() + b'"\n}')

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("question", "there"),
    [
        ("127.0.0.1:{port}", True),
        ("127.0.0.1:1", False),
        ("localhost", True),
        ("no-such-host.invalid", False),
        ("127.0.0.1:{port}/jmx?qry=a:b=c#NumActiveNMs..:.[1-9]", True),
        ("127.0.0.1:{port}/jmx?qry=a:b=c#NumActiveNMs..:.0", False),
        ("127.0.0.1:{port}/jmx?qry=a:b=c#/jmx.qry=a:b=c", True),
        ("127.0.0.1:1/jmx#.", False),
    ],
)
def test_what_a_service_waits_for(page: int, question: str, there: bool) -> None:
    script = 'set -uf; source <(sed -n "/^answers()/,/^}/p" "$1"); answers "$2"'
    argv = ["bash", "-c", script, "bash", str(FOLDER / "base/files/usr/lib/labcloud/service/run"), question.format(port=page)]
    assert (subprocess.run(argv, check=False, timeout=30).returncode == 0) == there
