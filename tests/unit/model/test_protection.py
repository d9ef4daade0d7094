"""Policies of backups: who says what, what follows, and when a backup or a drill is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model.protection import (
    DEFAULT,
    KEEP_RULES,
    NEVER,
    NO_TERMS,
    BackupPolicy,
    BackupTerms,
    Keep,
    Often,
    Schedule,
    changed,
    drill_due,
    due,
    explain,
    parse_target,
    resolve,
    said,
)
from tests.unit.model.test_schedules import moments, schedules

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOME = "/home"
TARGETS = (
    "/srv/backups", "sftp:b@backup.example.org:/srv/lab", "s3:https://s3.example.org/lab", "rest:https://example.org:8000/",
    "engine:openstack",
)  # fmt: skip
counts = st.integers(0, 9999)
keeps = st.builds(Keep, counts, counts, counts, counts)
rules = st.dictionaries(st.sampled_from(KEEP_RULES), counts).map(lambda said: {rule: said[rule] for rule in KEEP_RULES if rule in said})
terms = st.builds(
    BackupTerms, st.none() | st.booleans(), st.none() | st.just(NEVER) | schedules, rules.map(MappingProxyType),
    st.none() | st.sampled_from(Often), st.none() | st.sampled_from(TARGETS), st.none() | st.sampled_from(["minio", "b2"]),
    st.none() | st.integers(0, 100),
)  # fmt: skip


def written(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


@given(keeps)
def test_what_is_to_be_kept_is_read_as_it_is_written(keep: Keep) -> None:
    assert Keep.parse(str(keep)) == keep
    assert keep.keeps_nothing == (keep == Keep(0, 0, 0, 0))


@pytest.mark.parametrize("text", ["", "3", "last=", "last=-1", "last=3,last=4", "last=10000", "last=3;daily=7"])
def test_what_says_nothing_to_keep_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Keep.parse(text)
    assert refused.value.resolution


def test_the_nearest_rule_is_named() -> None:
    with pytest.raises(UsageError, match="no rule 'dayly'") as refused:
        Keep.parse("dayly=3")
    assert "did you mean daily?" in refused.value.resolution


def test_nobody_says_anything() -> None:
    policy = resolve(home=HOME)
    assert policy == BackupPolicy("/home/backups", True, Schedule.parse("02:00"), Keep(3, 7, 4, 6), Often.MONTHLY, "", 1)
    assert resolve(NO_TERMS, NO_TERMS, home=HOME) == policy
    assert set(explain({"lab": NO_TERMS}, home=HOME).sources.values()) == {DEFAULT}


@given(st.lists(terms, max_size=3))
def test_of_several_the_last_counts(layers: list[BackupTerms]) -> None:
    named = {f"layer {number}": each for number, each in enumerate(layers)}
    explained = explain(named, home=HOME)
    policy = explained.policy
    assert resolve(*layers, home=HOME) == policy
    for key, source in explained.sources.items():
        whole, _, rule = key.partition(".")
        value = getattr(policy.keep, rule) if rule else getattr(policy, whole)
        speakers = [name for name, each in named.items() if key in said(each)]
        if key != "credentials":
            assert source == (speakers[-1] if speakers else DEFAULT)
        if source != DEFAULT and not (key == "credentials" and value == ""):
            assert value == said(named[source])[key]


def test_rules_are_joined_one_by_one() -> None:
    lab, tenant = BackupTerms(keep={"daily": 14, "monthly": 0}), BackupTerms(keep={"last": 1})
    explained = explain({"lab": lab, "tenant": tenant}, home=HOME)
    assert explained.policy.keep == Keep(1, 14, 4, 0)
    assert [explained.sources[f"keep.{rule}"] for rule in KEEP_RULES] == ["tenant", "lab", DEFAULT, "lab"]


def test_credentials_are_not_sent_to_another_target() -> None:
    lab = BackupTerms(target=TARGETS[2], credentials="minio")
    assert resolve(lab, BackupTerms(target=TARGETS[3]), home=HOME).credentials == ""
    assert resolve(lab, BackupTerms(target=TARGETS[3], credentials="b2"), home=HOME).credentials == "b2"
    assert resolve(lab, BackupTerms(credentials="b2"), home=HOME).credentials == "b2"
    assert resolve(lab, BackupTerms(enabled=False), home=HOME).credentials == "minio"


# Changing


@given(terms, terms)
def test_keys_are_set_and_dropped(old: BackupTerms, new: BackupTerms) -> None:
    wanted = {key: written(value) for key, value in said(new).items()}
    result = changed(old, wanted)
    assert said(result) == {key: {**said(old), **said(new)}[key] for key in said(result)}
    assert said(result).keys() == said(old).keys() | said(new).keys()
    assert changed(result, {}, [*said(result)]) == NO_TERMS
    assert bool(result) == bool(said(result))


def test_all_rules_are_set_or_dropped_at_once() -> None:
    some = changed(NO_TERMS, {"keep": "last=1,daily=2"})
    assert some == BackupTerms(keep={"last": 1, "daily": 2})
    assert changed(some, {"keep.daily": "5"}) == BackupTerms(keep={"last": 1, "daily": 5})
    assert changed(some, {}, ["keep"]) == NO_TERMS
    assert changed(some, {"enabled": "off"}, ["keep.last", "target"]) == BackupTerms(enabled=False, keep={"daily": 2})


@pytest.mark.parametrize(
    ("key", "text", "words", "hint"),
    [
        ("shedule", "02:00", "has no 'shedule'", "did you mean schedule?"),
        ("keep.dayly", "3", "has no 'keep.dayly'", "did you mean keep.daily?"),
        ("enabled", "yes", "neither true nor false", "true or false"),
        ("schedule", "soon", "no schedule", "02:00"),
        ("drill", "daily", "does not say how often", "weekly"),
        ("target", "backups", "no place for backups", "/srv/backups"),
        ("credentials", "../x", "cannot name credentials", "minio"),
        ("keep_snapshots", "101", "too many", "at most 100"),
        ("keep", "all", "does not say what to keep", "last=3"),
    ],
)
def test_what_cannot_be_set_is_refused(key: str, text: str, words: str, hint: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        changed(NO_TERMS, {key: text})
    assert hint in refused.value.resolution


@pytest.mark.parametrize("text", TARGETS)
def test_targets_that_can_be(text: str) -> None:
    assert parse_target(text) == text


def test_a_folder_is_written_in_plain_form() -> None:
    assert parse_target("/srv//backups/") == "/srv/backups"


@pytest.mark.parametrize(
    "text",
    ["", "/", "backups", "~/backups", "/srv/../etc", "/srv\n", "sftp:host", "sftp:-oProxy=x:/y", "sftp:a@-b:/c", "s3:",
     "s3:ftp://host/bucket", "rest:https://", "rest:https://[x/", "rclone:x:y", "http://host/", "s3:https://h/b?token=1",
     "engine:", "engine:a/b", "engine:A b"],
)  # fmt: skip
def test_targets_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="is no place for backups") as refused:
        parse_target(text)
    assert "sftp:" in refused.value.resolution


def test_a_password_in_a_target_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="has a password in it") as refused:
        parse_target("rest:https://lab:hunter2@example.org/")
    assert "hunter2" not in refused.value.brief + refused.value.resolution


# What is due


@given(schedules, moments, st.timedeltas(timedelta(), timedelta(days=30)))
def test_a_missed_night_is_made_up_once(schedule: Schedule, now: datetime, age: timedelta) -> None:
    policy = BackupPolicy("/b", schedule=schedule)
    moment = schedule.last_due(now)
    assert moment is not None
    assert due(policy, now - age, now) == (now - age < moment)
    assert due(policy, None, now)
    assert not due(policy, now, now)
    following = schedule.next_due(now)
    assert following is not None
    assert due(policy, now, following)


@given(moments, st.none() | st.just(NOW))
def test_nothing_is_due_where_nobody_wants_it(now: datetime, last: datetime | None) -> None:
    assert not due(BackupPolicy("/b", schedule=NEVER), last, now)
    assert not due(BackupPolicy("/b", enabled=False), last, now)
    assert not drill_due(BackupPolicy("/b", drill=Often.NEVER), last, now)
    assert not drill_due(BackupPolicy("/b", enabled=False), last, now)


def test_a_copy_from_the_future_counts_as_none() -> None:
    assert due(BackupPolicy("/b"), NOW + HOUR, NOW)
    assert drill_due(BackupPolicy("/b"), NOW + HOUR, NOW)


@given(st.sampled_from([Often.WEEKLY, Often.MONTHLY]), moments, st.text(max_size=4))
def test_a_drill_is_due_once_in_its_period(often: Often, now: datetime, of: str) -> None:
    policy = BackupPolicy("/b", drill=often)
    assert drill_due(policy, None, now, of=of)
    assert not drill_due(policy, now, now, of=of)
    assert drill_due(policy, now, now + timedelta(days=31), of=of)
    if often is Often.WEEKLY:
        assert drill_due(policy, now, now + timedelta(days=7), of=of)
