"""The lab repository: what was saved is read, each change is one commit, and nothing that is killed stays half-done."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, EngineError, UsageError
from labcloud.lab import Lab, home
from labcloud.model import ClusterRef, Configuration, NodeGroup, Tenant, Volume, Wanted
from tests.unit.lab.conftest import make_cluster

Git = Callable[..., str]


def subjects(git: Git) -> list[str]:
    """The commits' reasons, oldest first, without the set-up's."""
    return git("log", "--reverse", "--format=%s").splitlines()[1:]


def test_an_empty_lab_is_read_and_not_made(lab: Lab) -> None:
    assert lab.clusters() == []
    assert lab.tenants() == []
    assert lab.cluster(ClusterRef("acme", "c")) is None
    assert not lab.home.exists()


def test_what_was_saved_is_read(lab: Lab) -> None:
    cluster = make_cluster()
    assert lab.save(cluster, "create") is True
    assert Lab(lab.home).cluster(cluster.ref) == cluster


def test_clusters_are_listed_by_name_and_tenant(lab: Lab) -> None:
    for tenant, name in (("b", "one"), ("a", "two"), ("a", "one.1")):
        lab.save(make_cluster(tenant, name), "create")
    assert [str(each.ref) for each in lab.clusters()] == ["a/one.1", "a/two", "b/one"]
    assert [str(each.ref) for each in lab.clusters("a")] == ["a/one.1", "a/two"]
    assert lab.clusters("c") == []


def test_each_change_is_one_commit_with_author_and_reason(lab: Lab, git: Git) -> None:
    lab.ensure_tenant("acme")
    lab.save(make_cluster(), "create acme/hadoop-2.7")
    lab.save(make_cluster(state=Wanted.STOPPED), "stop acme/hadoop-2.7")
    lab.remove(make_cluster().ref, "delete acme/hadoop-2.7")
    assert subjects(git) == ["create the tenant acme", "create acme/hadoop-2.7", "stop acme/hadoop-2.7", "delete acme/hadoop-2.7"]
    assert set(git("log", "--format=%an <%ae>").splitlines()) == {"Ada <ada@example.org>"}
    assert git("status", "--porcelain") == ""


def test_nothing_new_is_no_commit(lab: Lab, git: Git) -> None:
    lab.save(make_cluster(), "create")
    assert lab.save(make_cluster(), "again") is False
    assert lab.ensure_tenant("acme") == lab.ensure_tenant("acme")
    assert lab.remove(ClusterRef("acme", "gone"), "delete") is False
    assert subjects(git) == ["create", "create the tenant acme"]


@pytest.mark.parametrize("reason", ["", "-m evil", "# no comment", "a\n\nlong reason", "\x1b[31mred\x00", "ünïcode"])
def test_any_reason_will_do(lab: Lab, git: Git, reason: str) -> None:
    assert lab.save(make_cluster(), reason)
    assert len(subjects(git)) == 1


def test_removed_clusters_leave_no_folder(lab: Lab) -> None:
    lab.save(make_cluster(), "create")
    assert lab.remove(make_cluster().ref, "delete") is True
    assert lab.cluster(make_cluster().ref) is None
    assert list((lab.home / "lab" / "clusters").iterdir()) == []
    assert list((lab.home / "locks").rglob("*")) == [] if (lab.home / "locks").exists() else True


def test_tenants_have_the_lowest_free_user_id(lab: Lab) -> None:
    assert [lab.ensure_tenant(name).user_id for name in ("c", "a", "b", "a")] == [20000, 20001, 20002, 20001]
    (lab.home / "lab" / "tenants" / "a.yaml").unlink()
    assert lab.ensure_tenant("d") == Tenant("d", 20001)
    assert [tenant.name for tenant in lab.tenants()] == ["b", "c", "d"]


def test_a_cluster_keeps_its_user_id_taken(lab: Lab) -> None:
    lab.save(make_cluster("orphan", user_id=20000), "create")
    assert lab.ensure_tenant("acme").user_id == 20001
    assert lab.ensure_tenant("orphan").user_id == 20000


def test_bad_names_are_refused_before_anything_is_made(lab: Lab) -> None:
    with pytest.raises(UsageError):
        lab.ensure_tenant("../evil")
    with pytest.raises(UsageError):
        lab.save(make_cluster("acme", "../../evil"), "create")
    assert not lab.home.exists()


def test_comments_survive(lab: Lab) -> None:
    lab.save(make_cluster(), "create")
    path = lab.home / "lab" / "clusters" / "acme" / "hadoop-2.7.yaml"
    text = path.read_text().replace("groups:", "# why so many\ngroups:").replace("memory: 2g", "memory: 2g  # enough")
    path.write_text("# ours, ÄÖ\n" + text)
    grown = make_cluster(
        groups=(NodeGroup("master", 1, 4096), NodeGroup("worker", 7, 1536, 0.5, (Volume(), Volume()))),
        configuration=Configuration(settings={"yarn-site:a.b": "true"}),
    )
    lab.save(grown, "scale")
    assert lab.cluster(grown.ref) == grown
    after = path.read_text()
    assert all(comment in after for comment in ("# ours, ÄÖ\n", "# why so many\n", "memory: 4g  # enough"))


def test_leftovers_are_committed_with_a_reason_that_says_so(lab: Lab, git: Git) -> None:
    lab.save(make_cluster(), "create")
    path = lab.home / "lab" / "clusters" / "acme" / "hadoop-2.7.yaml"
    path.write_text(path.read_text().replace("count: 2", "count: 3"))  # as a run that was killed before its commit leaves it
    lab.ensure_tenant("acme")
    assert subjects(git) == ["create", "left uncommitted before: create the tenant acme", "create the tenant acme"]
    assert git("status", "--porcelain") == ""


def test_locks_of_a_killed_git_are_removed(lab: Lab, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labcloud.lab.history._STALE_AFTER", 0.0)
    lab.save(make_cluster(), "create")
    for name in ("index.lock", "HEAD.lock", "refs/heads/main.lock"):
        (lab.home / "lab" / ".git" / name).touch()
    lab.save(make_cluster(state=Wanted.STOPPED), "stop")
    assert subjects(git) == ["create", "stop"]


def test_a_set_up_that_was_killed_is_finished(lab: Lab, git: Git) -> None:
    (lab.home / "lab" / ".git").mkdir(parents=True)
    (lab.home / "lab" / "base").mkdir()
    lab.save(make_cluster(), "create")
    assert subjects(git) == ["create"]
    assert (lab.base / "bashrc").exists()


def test_files_are_private_but_what_nodes_mount(lab: Lab) -> None:
    lab.save(make_cluster(), "create")
    modes = {
        name: (lab.home / name).stat().st_mode & 0o777
        for name in ("lab", "lab/clusters/acme/hadoop-2.7.yaml", "lab/base", "lab/base/bashrc")
    }
    assert modes == {"lab": 0o700, "lab/clusters/acme/hadoop-2.7.yaml": 0o600, "lab/base": 0o755, "lab/base/bashrc": 0o644}


def test_the_lab_has_one_identity(lab: Lab) -> None:
    assert len(lab.id) == 8
    assert Lab(lab.home).id == lab.id
    (lab.home / "lab-id").write_text("")
    with pytest.raises(ConfigError, match="identity"):
        assert lab.id


def test_git_configuration_of_people_has_no_say(lab: Lab, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".gitconfig").write_text("[commit]\ngpgSign = true\n[core]\nhooksPath = /nowhere\n[init]\ndefaultBranch = odd\n[broken")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert lab.save(make_cluster(), "create")
    monkeypatch.delenv("GIT_DIR")
    (tmp_path / ".gitconfig").unlink()
    assert subjects(git) == ["create"]


def test_a_missing_git_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineError, match="git is missing"):
        lab.save(make_cluster(), "create")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError) as caught:
        Lab(tmp_path / "file" / "home").save(make_cluster(), "create")
    assert caught.value.resolution


def _save_some(folder: Path, tenant: str) -> None:
    lab = Lab(folder)
    lab.ensure_tenant(tenant)
    for number in range(4):
        lab.save(make_cluster(tenant, f"c{number}"), f"{tenant} {number}")


def test_processes_that_change_it_at_once_lose_nothing(lab: Lab, git: Git) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_save_some, args=(lab.home, f"t{number}")) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert len(lab.clusters()) == 16
    assert sorted(tenant.user_id for tenant in lab.tenants()) == [20000, 20001, 20002, 20003]
    assert len(subjects(git)) == 20


def _save_for_ever(folder: Path) -> None:
    lab = Lab(folder)
    for number in range(100_000):
        lab.save(make_cluster("acme", f"c{number}"), f"save {number}")


def test_sigkill_at_any_moment_is_healed_by_the_next_change(lab: Lab, git: Git) -> None:
    context = multiprocessing.get_context("spawn")
    lab.ensure_tenant("acme")
    for round_ in range(8):
        worker = context.Process(target=_save_for_ever, args=(lab.home,))
        worker.start()
        before = len(lab.clusters("acme"))
        while worker.is_alive() and len(lab.clusters("acme")) <= before:
            time.sleep(0.005)
        time.sleep(0.0037 * round_)
        worker.kill()
        worker.join()
        lab.save(make_cluster("after", f"c{round_}"), "after")
        assert git("status", "--porcelain") == ""
        assert all(cluster.ref.name.startswith("c") for cluster in lab.clusters())
    assert git("fsck", "--strict") == ""
    committed = git("ls-files", "clusters").splitlines()
    assert sorted(committed) == sorted(f"clusters/{cluster.ref}.yaml" for cluster in lab.clusters())


def test_it_is_fast(lab: Lab) -> None:
    """In time of the processor, git's included: what else runs here must not fail it."""

    def spent() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    began = spent()
    for number in range(50):
        lab.save(make_cluster("acme", f"c{number}"), "create")
    assert (spent() - began) / 50 < 0.04  # 7 ms on a quiet machine
    began = spent()
    assert len(lab.clusters()) == 50
    assert spent() - began < 0.1  # 6 ms on a quiet machine


def test_where_a_lab_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABCLOUD_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("LABCLOUD_HOME")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert home() == Path("/var/lib/labcloud")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert home() == Path("/data/labcloud")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ada")
    assert home() == Path("/home/ada/.local/share/labcloud")


def test_another_users_lab_can_be_changed(lab: Lab, git: Git) -> None:
    if os.geteuid() != 0:
        pytest.fail("this test gives a folder to another user: run it as root")
    lab.save(make_cluster(), "create")
    subprocess.run(["chown", "-R", "12345", str(lab.home)], check=True)
    assert lab.save(replace(make_cluster(), state=Wanted.STOPPED), "stop")
    assert subjects(git) == ["create", "stop"]
