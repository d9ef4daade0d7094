"""What is said of backups in the lab repository: read with the line of what is wrong, changed as one commit, joined by layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError
from labcloud.lab import Lab
from labcloud.lab.document import Document
from labcloud.lab.documents import dump
from labcloud.lab.edit import update
from labcloud.lab.protection import LabBackup, backup_document, read_backup, read_terms
from labcloud.model import ClusterRef, Tenant
from labcloud.model.protection import BackupTerms, Keep, Often, Schedule
from labcloud.model.reports import Email, Report, Security, Server
from tests.unit.lab.conftest import make_cluster
from tests.unit.model.test_protection import terms

PATH = Path("/lab/backup.yaml")
REF = ClusterRef("acme", "c")
GOOD = """\
schedule: 02:00 mon,thu
keep: {last: 3, daily: 14}
drill: weekly
target: s3:https://s3.example.org/lab
credentials: minio
report:
  webhook: https://chat.example.org/hooks/labcloud
  email:
    to: ada@example.org
    from: labcloud@example.org
    server: mail.example.org:587
    user: labcloud
"""
EMAIL = Email(("ada@example.org",), "labcloud@example.org", Server("mail.example.org", 587), Security.STARTTLS, "labcloud")
WANTED = LabBackup(
    BackupTerms(
        schedule=Schedule.parse("02:00 mon,thu"), keep={"last": 3, "daily": 14}, drill=Often.WEEKLY,
        target="s3:https://s3.example.org/lab", credentials="minio",
    ),
    Report("https://chat.example.org/hooks/labcloud", EMAIL),
)  # fmt: skip
addresses = st.from_regex(r"[a-z.+]{1,9}@[a-z]{1,9}\.org", fullmatch=True)
servers = st.builds(Server, st.sampled_from(["mail.example.org", "10.0.0.7", "::1"]), st.sampled_from([25, 465, 587, 2525]))
emails = st.builds(
    Email, st.lists(addresses, min_size=1, max_size=3).map(tuple), addresses, servers, st.sampled_from(Security)
) | st.builds(
    Email, st.just(("a@b.org",)), addresses, servers, st.sampled_from([Security.TLS, Security.STARTTLS]), st.sampled_from(["ada", "a: 'b'"])
)
backups = st.builds(
    LabBackup, terms, st.builds(Report, st.sampled_from(["", "https://chat.example.org/h?a=b#c"]), st.none() | emails)
).filter(lambda each: each != LabBackup())  # fmt: skip


def test_what_people_write_is_read() -> None:
    assert read_backup(GOOD, PATH) == WANTED


@given(backups)
def test_what_is_written_is_read_the_same(backup: LabBackup) -> None:
    assert read_backup(dump(backup_document(backup)), PATH) == backup


@given(backups, backups)
def test_an_updated_text_says_what_is_wanted(old: LabBackup, new: LabBackup) -> None:
    text = "# head\n" + dump(backup_document(old)) + "# tail\n"
    assert read_backup(update(text, backup_document(new)), PATH) == new


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("off", BackupTerms(enabled=False)),
        ("on", BackupTerms(enabled=True)),
        ("{}", BackupTerms()),
        ("", BackupTerms()),
        ("{keep: {}}", BackupTerms()),
        ("{schedule: never, keep_snapshots: 0}", BackupTerms(schedule=Schedule(None), keep_snapshots=0)),
    ],
)
def test_backups_are_said_in_short(text: str, said: BackupTerms) -> None:
    document = Document(PATH)
    assert read_terms(document, document.mapping(document.root(f"backup: {text}"), required=("backup",))["backup"]) == said


@pytest.mark.parametrize(
    ("old", "new", "line", "said", "hint"),
    [
        ("schedule:", "shedule:", 1, "'shedule' means nothing here", "did you mean schedule?"),
        ("02:00 mon,thu", "25:00", 1, "'25:00' is no schedule", "02:00"),
        ("daily: 14", "dayly: 14", 2, "no rule 'dayly'", "did you mean daily?"),
        ("daily: 14", "daily: -1", 2, "no number of copies", "0 to 9999"),
        ("{last: 3, daily: 14}", "3", 2, "lines are expected", ""),
        ("drill: weekly", "drill: daily", 3, "does not say how often", "monthly"),
        ("s3:https://s3.example.org/lab", "https://s3.example.org/lab", 4, "no place for backups", "s3:https"),
        ("s3:https://", "s3:https://a:hunter2@", 4, "has a password in it", "credentials"),
        ("minio", "../minio", 5, "cannot name credentials", "minio"),
        ("https://chat", "chat", 7, "not the URL of a web service", "https"),
        ("  email:", "  emial:", 8, "'emial' means nothing here", "did you mean email?"),
        ("ada@example.org", "[Ada <ada@example.org>]", 9, "not an e-mail address", "bare"),
        ("ada@example.org", "[]", 9, "a list is expected", ""),
        ("    from: labcloud@example.org\n", "", 9, "'from' is missing", ""),
        (":587", ":99999", 11, "not a mail server", "mail.example.org:587"),
        ("user: labcloud", "security: ssl", 12, "how a mail server is spoken to", "starttls"),
        (":587", "", 12, "a password is not sent in the clear", "starttls"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, line: int, said: str, hint: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read_backup(GOOD.replace(old, new, 1), PATH)
    assert caught.value.brief.startswith(f"{PATH}:{line}:")
    assert said in caught.value.brief
    assert hint in caught.value.resolution
    assert "hunter2" not in caught.value.brief


# In a lab


def test_a_lab_protects_its_clusters_before_anybody_says_so(lab: Lab) -> None:
    policy = lab.backup_policy(REF)
    assert (policy.enabled, policy.target, policy.keep) == (True, f"{lab.home}/backups", Keep())
    assert not lab.home.exists()


def test_each_layer_says_what_it_says(lab: Lab) -> None:
    lab.create_tenant(Tenant("acme", 0, backup=BackupTerms(target="/srv/acme", keep={"daily": 30})), "tenant")
    lab.save(make_cluster("acme", "c", backup=BackupTerms(enabled=False, keep={"last": 1})), "cluster")
    lab.change_backup(lambda _: WANTED, "lab")
    explained = lab.explained_backup(ref=REF)
    assert explained.policy == lab.backup_policy(REF)
    assert lab.backup_policies() == lab.backup_policies("acme") == {REF: explained.policy}
    assert lab.backup_policies("other") == {}
    assert (explained.policy.keep, explained.policy.enabled, explained.policy.drill) == (Keep(1, 30, 4, 6), False, Often.WEEKLY)
    assert dict(explained.sources) == {
        "enabled": "clusters/acme/c.yaml", "schedule": "backup.yaml", "drill": "backup.yaml", "target": "tenants/acme.yaml",
        "credentials": "tenants/acme.yaml", "keep_snapshots": "default", "keep.last": "clusters/acme/c.yaml",
        "keep.daily": "tenants/acme.yaml", "keep.weekly": "default", "keep.monthly": "default",
    }  # fmt: skip
    assert lab.explained_backup("acme").policy.enabled
    assert lab.explained_backup().policy.target == WANTED.terms.target
    assert lab.policy_of(make_cluster("acme", "c", backup=BackupTerms(enabled=False, keep={"last": 1}))) == explained.policy
    new = lab.policy_of(make_cluster("acme", "new", backup=BackupTerms(drill=Often.NEVER)))
    assert (new.target, new.drill, new.enabled) == ("/srv/acme", Often.NEVER, True)
    lab.remove(REF, "gone")
    assert lab.backup_policy(REF).target == "/srv/acme"
    assert lab.backup_policy(ClusterRef("other", "c")).target == WANTED.terms.target


def test_what_is_said_stays_when_something_else_changes(lab: Lab) -> None:
    """A time that YAML takes for a number, as people write it, with their comments."""
    lab.ensure_tenant("acme")
    lab.save(make_cluster("acme", "c"), "cluster")
    path = lab.home / "lab/clusters/acme/c.yaml"
    path.write_text(path.read_text() + "backup:\n  schedule: 12:00  # lunch\n")
    cluster = lab.cluster(REF)
    assert cluster is not None
    assert lab.save(replace(cluster, user_id=20005), "other")
    assert "  schedule: 12:00  # lunch\n" in path.read_text()
    assert lab.cluster(REF) == replace(cluster, user_id=20005)


def test_a_change_is_one_commit_and_keeps_comments(lab: Lab, git: Callable[..., str]) -> None:
    assert lab.change_backup(lambda _: WANTED, "first")
    path = lab.home / "lab/backup.yaml"
    path.write_text("# ours\n" + path.read_text())
    new = replace(WANTED, terms=replace(WANTED.terms, drill=Often.NEVER))
    assert lab.change_backup(lambda there: replace(there, terms=replace(there.terms, drill=Often.NEVER)), "second")
    assert not lab.change_backup(lambda there: there, "nothing")
    assert (lab.backup(), path.read_text().startswith("# ours\n")) == (new, True)
    assert lab.change_backup(lambda _: LabBackup(), "none")
    assert not path.exists()
    assert git("log", "--format=%s").splitlines()[:2] == ["none", "second"]


def test_a_broken_file_leaves_the_last_good_one_in_force(lab: Lab) -> None:
    lab.change_backup(lambda _: WANTED, "first")
    path = lab.home / "lab/backup.yaml"
    path.write_text("shedule: never\n")
    assert lab.backup() == WANTED
    assert [str(each).partition("; ")[0] for each in lab.broken] == ["backup.yaml:1: 'shedule' means nothing here"]
    with pytest.raises(ConfigError, match="'shedule' means nothing here"):
        lab.change_backup(lambda _: LabBackup(), "second")
    assert path.read_text() == "shedule: never\n"


def test_the_file_is_changed_as_any_other(lab: Lab) -> None:
    lab.change({"backup.yaml": GOOD}, "edited")
    assert lab.backup() == WANTED
    with pytest.raises(ConfigError, match=r"^backup.yaml:1: "):
        lab.change({"backup.yaml": "x: 1\n"}, "bad")
    lab.change({"review.yaml": "required: [backup.yaml]\n"}, "review")
    assert lab.review_required(["backup.yaml"])


def test_taking_older_settings_back_leaves_the_protection_as_it_is(lab: Lab) -> None:
    lab.ensure_tenant("acme")
    lab.save(make_cluster("acme", "c", backup=BackupTerms(enabled=False)), "without")
    before = lab.revision()
    lab.save(make_cluster("acme", "c", configuration=make_cluster().configuration, backup=BackupTerms(keep={"daily": 30})), "with")
    text = lab.older("clusters/acme/c.yaml", before)
    assert text is not None
    assert "daily: 30" in text
    assert "enabled" not in text
