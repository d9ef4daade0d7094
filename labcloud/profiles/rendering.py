"""A cluster's configuration as text, for every node: the rendered half of docs/node.md.

Pure: a profile, a cluster, what its lab shares, the tenant's domain and the nodes that are leaving go in, texts come out. Engines, the lab
repository and what exists are not known here. What users set is literal text: it is never evaluated, only escaped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from labcloud.errors import UsageError
from labcloud.model import NOTHING_SHARED, Cluster, Configuration, Layer, Member, NodeGroup, NodeRef, Shared
from labcloud.model.storage import Classes, media_tags, storage_class
from labcloud.profiles import files
from labcloud.profiles.declaring import declared
from labcloud.profiles.expressions import ExpressionError, fill
from labcloud.profiles.formats import hadoop_xml, host_list, shell_assignments, unrepresentable
from labcloud.profiles.layering import Layering, merged
from labcloud.profiles.model import Profile, Service
from labcloud.profiles.sizing import GroupSizing, size_group, sizing

Settings = Mapping[str, Mapping[str, str]]
SIZE: Final = "size"
"""The file in a node's configuration that says for which memory (MiB) it was rendered."""
_LOG4J: Final = "log4j.properties"
_DEEPEST: Final = 8  # of setting() within setting()


def render(
    profile: Profile,
    cluster: Cluster,
    domain: str,
    *,
    shared: Shared = NOTHING_SHARED,
    excluded: Collection[str] = (),
    members: Iterable[Member] = (),
) -> dict[str, str]:
    """Return ``{"NODE/relative/path": text}`` for all nodes, retired ones included.

    ``domain`` is the tenant's (`Provider.domain`); ``shared`` is what the lab says besides; ``excluded`` are host names of nodes that are
    leaving; ``members`` are the tenant's people. Raise UsageError for settings, groups or memory that cannot be, ConfigError for an
    expression or a template that cannot be evaluated.
    """
    drawing = Drawing(profile, cluster, domain, shared)
    people = dict(_people(members))
    tree: dict[str, str] = {}
    for ref in (*cluster.nodes(), *cluster.retired()):
        name = ref.name
        for path, text in drawing.files(ref, excluded).items():
            tree[f"{name}/{path}"] = text
        for path, text in people.items():
            tree[f"{name}/{path}"] = text
    return tree


def by_group(tree: Mapping[str, str]) -> dict[str, str]:
    """What the first node of each group has of a rendered ``tree``: ``{"GROUP/relative/path": text}``."""
    parts = ((path.partition("/"), text) for path, text in tree.items())
    return {f"{node.removesuffix('-0')}/{path}": text for (node, _, path), text in parts if node.endswith("-0")}


class Drawing:
    """The configuration of one cluster's nodes. What is the same for many nodes is rendered once."""

    def __init__(self, profile: Profile, cluster: Cluster, domain: str, shared: Shared) -> None:
        self._profile = profile
        self._cluster = cluster
        self._shared = shared
        self._domain = domain
        self._layering = Layering(profile, cluster, shared)
        sizes = sizing(profile, cluster)
        self._sizes_of_nodes = {(each.name, each.memory, each.cpus): sizes[each.name] for each in cluster.groups}
        self._common = _common_names(profile, cluster, domain, sizes, shared.storage)
        self._rendered: dict[Any, Mapping[str, str]] = {}
        self._filled: dict[Any, dict[Any, str]] = {}
        self._uniform: dict[str, tuple[Layer, ...]] = {}

    def files(self, ref: NodeRef, excluded: Collection[str]) -> Mapping[str, str]:
        """Path and text of every file of a node."""
        layers = self._layers(ref)
        node = self._cluster.size(ref)
        # Layers are the same objects wherever they say the same.
        key = (ref.group, node.memory, node.cpus, tuple(id(each.configuration) for each in layers))
        wanted = merged(layers)
        if key not in self._rendered:
            self._rendered[key] = dict(self._group(ref, node, wanted).files(self._size(node), excluded))
        if not (wanted.files or wanted.directories or wanted.packages or wanted.health):
            return self._rendered[key]
        facts = {**self._common, **self._layering.facts(ref), "host_name": host_name(ref, self._domain), "memory": node.memory}
        return {**self._rendered[key], **dict(declared(wanted, self._shared.sources, facts)), **_health(wanted)}

    def settings(self, ref: NodeRef) -> dict[str, dict[str, str]]:
        """A node's Hadoop settings by file, as they are rendered."""
        group = self._group(ref, self._cluster.size(ref), merged(self._layering.of(ref)))
        return {file: group.settings(file) for file in self._profile.settings}

    def _meant(self, ref: NodeRef, wanted: Configuration) -> Mapping[str, str]:
        """The settings that are for this profile: what a tenant or the lab says of a file that it has not is for others."""
        own = self._cluster.own.get(ref.name)
        levels = (self._cluster.configuration, self._cluster.group(ref.group).configuration, *((own.configuration,) if own else ()))
        said = {key for each in levels for key in each.settings}
        return {key: value for key, value in wanted.settings.items() if key in said or self._profile.has_file_of(key)}

    def _layers(self, ref: NodeRef) -> tuple[Layer, ...]:
        if self._shared.bindings or self._cluster.own:
            return self._layering.of(ref)
        if ref.group not in self._uniform:
            self._uniform[ref.group] = self._layering.of(ref)
        return self._uniform[ref.group]

    def _size(self, node: NodeGroup) -> GroupSizing:
        key = (node.name, node.memory, node.cpus)
        if key not in self._sizes_of_nodes:
            self._sizes_of_nodes[key] = size_group(self._profile, node, {group.name: group.count for group in self._cluster.groups})
        return self._sizes_of_nodes[key]

    def _group(self, ref: NodeRef, node: NodeGroup, wanted: Configuration) -> Group:
        here = _group_names(node, self._size(node), self._shared.storage)
        names = self._common | {"here": here, "group": ref.group}
        base = {key: value for key, value in self._shared.base.settings.items() if self._profile.has_file_of(key)}
        said = Said(
            user_settings(self._profile, base),
            user_settings(self._profile, self._meant(ref, wanted)),
            wanted.environment,
            self._shared.log4j,
        )
        filled = self._filled.setdefault((node.name, node.memory, node.cpus), {})
        return Group(self._profile, self._cluster, node, names=names, said=said, filled=filled)


def _health(wanted: Configuration) -> dict[str, str]:
    return {f"health/{name}": text for name, text in wanted.health.items()}


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


def _common_names(profile: Profile, cluster: Cluster, domain: str, sizes: Mapping[str, GroupSizing], storage: Classes) -> dict[str, Any]:
    """What expressions of settings, files and services may use; docs/profiles.md lists it."""
    groups = {group.name: _group_names(group, sizes[group.name], storage) for group in cluster.groups}
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


def _group_names(group: NodeGroup, size: GroupSizing, storage: Classes) -> dict[str, Any]:
    """What expressions may ask of a group, or of one of its nodes: of volumes how many there are, and how HDFS marks the media of each."""
    media = media_tags([storage_class(storage, each.storage).media for each in group.volumes])
    own = {"name": group.name, "count": group.count, "memory": group.memory, "cpus": group.cpus}
    return {**own, "volumes": len(group.volumes), "media": media, **size.values, "reserved": size.reserved}


def _each_volume(count: int, pattern: str, separator: str = ",", before: Sequence[str] = ()) -> str:
    """``pattern`` once for each of ``count`` volumes, ``{}`` being the volume's number, each after what ``before`` has for it."""
    marks = [*before, *[""] * count]
    return separator.join(marks[number] + pattern.replace("{}", str(number)) for number in range(count))


@dataclass(frozen=True)
class Said:
    """What is said beside the profile: settings below it and above it, by file; variables; lines for log4j.properties."""

    below: Settings
    above: Settings
    environment: Mapping[str, str]
    log4j: str = ""


class Group:
    """The configuration of nodes that have all in common. ``filled`` keeps texts for others of their size."""

    def __init__(
        self, profile: Profile, cluster: Cluster, group: NodeGroup, *, names: Mapping[str, Any], said: Said, filled: dict[Any, str]
    ) -> None:
        self._profile = profile
        self._cluster = cluster
        self._group = group
        self._filled = filled
        self._said = said
        self._depth = 0
        self._names = {**names, "setting": self._setting}

    def files(self, size: GroupSizing, excluded: Collection[str]) -> Iterable[tuple[str, str]]:
        """Path and text of every file."""
        yield "node.env", shell_assignments(self._environment())
        yield SIZE, f"{self._group.memory}\n"
        for name, service in self._profile.services_of(self._group.name).items():
            yield f"services/{name}", shell_assignments(self._service(service, size))
        for file in self._profile.settings:
            yield f"conf/{file}.xml", hadoop_xml(self.settings(file))
        for file, text in self._profile.files.items():
            more = self._said.log4j if file == _LOG4J else ""
            yield f"conf/{file}", self._fill(text, "files", file) + more
        for file in self._profile.exclude_files:
            yield f"conf/{file}", host_list(file, excluded)

    def settings(self, file: str) -> dict[str, str]:
        """All settings of a file, in the order of their names."""
        own = self._said.above.get(file, {})
        values = {name: self.value(file, name) for name in self._profile.settings[file] if name not in own}
        return dict(sorted({**self._said.below.get(file, {}), **values, **own}.items()))

    def value(self, file: str, name: str) -> str:
        """The profile's own value of a setting."""
        return self._fill(self._profile.settings[file][name], "settings", file, name)

    def _setting(self, key: str) -> str:
        """What ``setting('FILE:NAME')`` gives: the user's value, or the profile's."""
        file, _, name = key.partition(":")
        own = self._said.above.get(file, {})
        if name in own:
            return own[name]
        if name not in self._profile.settings.get(file, {}):
            if name in self._said.below.get(file, {}):
                return self._said.below[file][name]
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
        return (
            own
            | dict(self._said.environment)
            | {
                "LABCLOUD_TENANT": self._cluster.ref.tenant,
                "LABCLOUD_USER_ID": str(self._cluster.user_id),
                "LABCLOUD_CLUSTER": self._cluster.ref.name,
                "LABCLOUD_CLUSTER_ID": self._cluster.id,
                "LABCLOUD_VOLUMES": " ".join(map(str, range(len(self._group.volumes)))),
            }
        )

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
        # What asks for no other setting gives the same for all nodes of one size, whatever is said of them.
        key = None if "setting(" in text else (text, *more.values())
        if key in self._filled:
            return self._filled[key]
        try:
            filled = fill(text, {**self._names, **more} if more else self._names)
        except ExpressionError as exc:
            raise files.error(self._profile.folders, place, str(exc)) from exc
        if key is not None:
            self._filled[key] = filled
        return filled
