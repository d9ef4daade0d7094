"""A cluster's configuration as text, for every node group: the rendered half of docs/node.md.

Pure: a profile, a cluster, the tenant's domain and the nodes that are leaving go in, texts come out. Engines, the lab
repository and what exists are not known here. What users set is literal text: it is never evaluated, only escaped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from labcloud.errors import UsageError
from labcloud.model import Cluster, Member, NodeGroup, NodeRef
from labcloud.model.storage import NO_CLASSES, Classes, media_tags, storage_class
from labcloud.profiles import files
from labcloud.profiles.expressions import ExpressionError, fill
from labcloud.profiles.formats import hadoop_xml, shell_assignments, unrepresentable
from labcloud.profiles.model import Profile, Service
from labcloud.profiles.sizing import GroupSizing, sizing

Settings = Mapping[str, Mapping[str, str]]
_DEEPEST: Final = 8  # of setting() within setting()


def render(
    profile: Profile, cluster: Cluster, domain: str, excluded: Collection[str] = (), members: Iterable[Member] = (), *,
    storage: Classes = NO_CLASSES,
) -> dict[str, str]:  # fmt: skip
    """Return ``{"GROUP/relative/path": text}`` for all groups.

    ``domain`` is the tenant's (`Provider.domain`); ``excluded`` are host names of nodes that are leaving; ``members`` are the
    tenant's people, ``storage`` the lab's storage classes. Raise UsageError for settings, groups or memory that cannot be, ConfigError
    for an expression in the profile that cannot be evaluated, NotFoundError for a storage class that is not there.
    """
    overrides = user_settings(profile, cluster.settings)
    sizes = sizing(profile, cluster)
    common = _common_names(profile, cluster, domain, sizes)
    for each in cluster.groups:
        common[each.name] |= _volume_names(each, storage)
    people = dict(_people(members))
    tree: dict[str, str] = {}
    for group in cluster.groups:
        tree |= {f"{group.name}/{path}": text for path, text in people.items()}
        names = common | {"here": common[group.name], "group": group.name}
        for path, text in Group(profile, cluster, group, names, overrides).files(sizes[group.name], excluded):
            tree[f"{group.name}/{path}"] = text
    return tree


def _people(members: Iterable[Member]) -> Iterable[tuple[str, str]]:
    """What a node makes its members of; nothing where there are none."""
    known = sorted(members)
    if known:
        yield "users", "".join(f"{each.name} {each.user_id}\n" for each in known)
    for each in known:
        if each.keys:
            yield f"authorized_keys/{each.name}", "".join(f"{key}\n" for key in each.keys)


def user_settings(profile: Profile, settings: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return a cluster's own settings by file. They are written ``FILE:NAME``; raise UsageError for what is not."""
    sorted_out: dict[str, dict[str, str]] = {}
    for key, value in settings.items():
        file, colon, name = key.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"{key!r} does not name a setting", resolution="write FILE:NAME=VALUE, as in hdfs-site:dfs.replication=2")
        if file not in profile.settings:
            raise UsageError(
                f"{profile.name} has no settings file {file!r}",
                resolution=f"its files are {', '.join(profile.settings)}",
            )
        if bad := unrepresentable(name + value):
            raise UsageError(f"the setting {key!r} contains {bad!r}, which Hadoop's XML cannot hold", resolution="leave it out")
        sorted_out.setdefault(file, {})[name] = value
    return sorted_out


def host_name(ref: NodeRef, domain: str) -> str:
    """A node's full host name."""
    return f"{ref.qualified}.{domain}"


def _common_names(profile: Profile, cluster: Cluster, domain: str, sizes: Mapping[str, GroupSizing]) -> dict[str, Any]:
    """What expressions of settings, files and services may use; docs/profiles.md lists it."""
    groups = {group.name: {**asdict(group), **sizes[group.name].values, "reserved": sizes[group.name].reserved} for group in cluster.groups}
    return {
        **profile.variables,
        **groups,
        "jvm": profile.jvm,
        "tenant": cluster.ref.tenant,
        "cluster": cluster.ref.name,
        "cluster_id": cluster.id,
        "domain": domain,
        "host": {name: host_name(NodeRef(cluster.ref, each.group, 0), domain) for name, each in profile.services.items()},
        "port": {name: each.ports for name, each in profile.services.items()},
        "each_volume": _each_volume,
    }


def _volume_names(group: NodeGroup, storage: Classes) -> dict[str, Any]:
    """What expressions may know of a group's volumes: how many there are, and how HDFS marks the media of each."""
    media = [storage_class(storage, each.storage).media for each in group.volumes]
    return {"volumes": len(group.volumes), "media": media_tags(media)}


def _each_volume(count: int, pattern: str, separator: str = ",", before: Sequence[str] = ()) -> str:
    """``pattern`` once for each of ``count`` volumes, ``{}`` being the volume's number, each after what ``before`` has for it."""
    marks = [*before, *[""] * count]
    return separator.join(marks[number] + pattern.replace("{}", str(number)) for number in range(count))


class Group:
    """The configuration of one group's nodes."""

    def __init__(self, profile: Profile, cluster: Cluster, group: NodeGroup, names: Mapping[str, Any], overrides: Settings) -> None:
        self._profile = profile
        self._cluster = cluster
        self._group = group
        self._overrides = overrides
        self._depth = 0
        self._names = {**names, "setting": self._setting}

    def files(self, size: GroupSizing, excluded: Collection[str]) -> Iterable[tuple[str, str]]:
        """Path and text of every file."""
        yield "node.env", shell_assignments(self._environment())
        for name, service in self._profile.services_of(self._group.name).items():
            yield f"services/{name}", shell_assignments(self._service(service, size))
        for file, settings in self._profile.settings.items():
            own = self._overrides.get(file, {})
            values = {name: self.value(file, name) for name in settings if name not in own}
            yield f"conf/{file}.xml", hadoop_xml(dict(sorted({**values, **own}.items())))
        for file, text in self._profile.files.items():
            yield f"conf/{file}", self._fill(text, "files", file)
        for file in self._profile.exclude_files:
            yield f"conf/{file}", "".join(f"{host}\n" for host in sorted(excluded))

    def value(self, file: str, name: str) -> str:
        """The profile's own value of a setting."""
        return self._fill(self._profile.settings[file][name], "settings", file, name)

    def _setting(self, key: str) -> str:
        """What ``setting('FILE:NAME')`` gives: the user's value, or the profile's."""
        file, _, name = key.partition(":")
        own = self._overrides.get(file, {})
        if name in own:
            return own[name]
        if name not in self._profile.settings.get(file, {}):
            raise ExpressionError(f"there is no setting {key!r}")
        if self._depth >= _DEEPEST:
            raise ExpressionError(f"the setting {key!r} leads back to itself")
        self._depth += 1
        try:
            return self.value(file, name)
        finally:
            self._depth -= 1

    def _environment(self) -> dict[str, str]:
        own = {name: self._fill(text, "environment", name) for name, text in self._profile.environment.items()}
        return own | {
            "LABCLOUD_TENANT": self._cluster.ref.tenant,
            "LABCLOUD_USER_ID": str(self._cluster.user_id),
            "LABCLOUD_CLUSTER": self._cluster.ref.name,
            "LABCLOUD_CLUSTER_ID": self._cluster.id,
            "LABCLOUD_VOLUMES": " ".join(map(str, range(len(self._group.volumes)))),
        }

    def _service(self, service: Service, size: GroupSizing) -> dict[str, str]:
        memory = size.services[service.name]
        facts = {"name": service.name, "user": service.user, "heap": memory.heap}
        place = ("services", service.name)
        options = [self._fill(each, "service_options", **facts) for each in self._profile.service_options]
        options += [self._fill(each, *place, "options", **facts) for each in service.options]
        return {
            "SERVICE_USER": service.user,
            "SERVICE_CLASS": service.class_name,
            "SERVICE_OPTS": " ".join([self._profile.jvm["daemon"], *options]),
            "SERVICE_ARGS": " ".join(self._fill(each, *place, "args", **facts) for each in service.args),
            "SERVICE_DIRS": " ".join(self._fill(each, *place, "dirs", **facts) for each in service.dirs),
            "SERVICE_PREPARE": service.prepare,
            "SERVICE_NICE": str(service.nice),
            "SERVICE_AFTER": " ".join(self._address(each) for each in service.after),
        }

    def _address(self, after: str) -> str:
        address, slash, question = after.partition("/")
        service, _, port = address.partition(".")
        host = str(self._names["host"][service])
        return f"{host}:{self._profile.services[service].ports[port]}{slash}{question}" if port else host

    def _fill(self, text: str, *place: str, **more: Any) -> str:
        try:
            return fill(text, {**self._names, **more} if more else self._names)
        except ExpressionError as exc:
            raise files.error(self._profile.folders, place, str(exc)) from exc
