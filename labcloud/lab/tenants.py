"""Tenants as the YAML files that people read and write. Knows nothing of where the files are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from labcloud.errors import UsageError
from labcloud.lab.configurations import KEYS, configuration_document, read_configuration
from labcloud.lab.document import Document
from labcloud.lab.documents import user_id, word
from labcloud.lab.protection import read_terms, terms_document
from labcloud.model import (
    FIRST_USER_ID,
    Member,
    Tenant,
    format_amount,
    member_name,
    parse_amount,
    parse_limit,
    parse_resource,
    private_subnet,
    public_key,
)
from labcloud.model.defaults import check_default, check_url

_OPTIONAL: Final = ("quotas", "limits", "members", "former", "subnet", "defaults", "notify", "review", "backup", *KEYS)


def tenant_document(tenant: Tenant) -> dict[str, Any]:
    """The plain data of a tenant, in the order in which it is written; what is empty is left out."""
    document = {
        "user_id": tenant.user_id,
        "quotas": {str(key): _number(format_amount(parse_resource(key), amount)) for key, amount in sorted(tenant.quotas.items())},
        "limits": dict(sorted(tenant.limits.items())),
        "members": [_member_document(each) for each in tenant.members],
        "former": dict(sorted(tenant.former.items())),
        "subnet": tenant.subnet,
        "defaults": dict(sorted(tenant.defaults.items())),
        "notify": tenant.notify,
        **configuration_document(tenant.configuration),
        "review": "required" if tenant.review else "",
        "backup": terms_document(tenant.backup),
    }
    return {key: value for key, value in document.items() if value or key == "user_id"}


def _member_document(member: Member) -> dict[str, Any]:
    return {"name": member.name, "user_id": member.user_id} | ({"keys": list(member.keys)} if member.keys else {})


def _number(text: str) -> object:
    """``8`` and ``0.5`` as numbers, so that they are written without quotes."""
    return int(text) if text.isdigit() else text if text[-1].isalpha() else float(text)


def read_tenant(text: str, name: str, path: Path, *, profiles: Collection[str] | None = None, others: Iterable[Tenant] = ()) -> Tenant:
    """The tenant ``name`` that ``text`` declares. Raise ConfigError with ``path`` and the line of what is wrong.

    Limits must name one of ``profiles``, where those are given; ids and the subnet must not be one of ``others``.
    """
    document = Document(path)
    fields = document.mapping(document.root(text), required=("user_id",), more=_OPTIONAL)
    neighbours = tuple(others)

    def own_id(text: str) -> int:
        return free_id(user_id(text), neighbours)

    tenant = Tenant(
        name,
        user_id=document.scalar(fields["user_id"], own_id),
        quotas=_quotas(document, fields.get("quotas")),
        limits=MappingProxyType(document.entries(fields.get("limits"), lambda key: known_profile(word(key), profiles), parse_limit)),
        members=_members(document, fields.get("members"), name, own_id),
        subnet=document.scalar(fields.get("subnet"), lambda text: free_subnet(text, neighbours), ""),
        defaults=_defaults(document, fields.get("defaults")),
        notify=document.scalar(fields.get("notify"), check_url, ""),
        former=MappingProxyType(document.entries(fields.get("former"), lambda key: member_name(key, name), own_id)),
        configuration=read_configuration(document, fields),
        review=document.scalar(fields.get("review"), review_wanted, False),
        backup=read_terms(document, fields.get("backup")),
    )
    if len(tenant.user_ids) != 1 + len(tenant.members) + len(tenant.former):
        raise document.wrong(0, "two people of this tenant have the same user id")
    return tenant


def known_profile(name: str, profiles: Collection[str] | None) -> str:
    """``name`` if it is one of ``profiles``, or nobody knows them. Raise UsageError otherwise."""
    if profiles is not None and name not in profiles:
        raise UsageError(f"a limit names the profile {name!r}, which there is not", resolution=f"known are {', '.join(sorted(profiles))}")
    return name


def review_wanted(text: str) -> bool:
    """Whether ``text`` asks for reviews. Raise UsageError unless it is ``required`` or ``none``."""
    if text not in ("required", "none"):
        raise UsageError(f"{text!r} says nothing about reviews", resolution="write 'required' or 'none'")
    return text == "required"


def free_subnet(text: str, others: Iterable[Tenant]) -> str:
    """``text`` if it writes a private network that overlaps none of the other tenants'. Raise UsageError otherwise."""
    subnet = private_subnet(text)
    for other in others:
        if other.subnet and subnet.overlaps(private_subnet(other.subnet)):
            raise UsageError(f"{text} overlaps {other.subnet}, the subnet of {other.name}", resolution="choose another network")
    return str(subnet)


def free_id(number: int, others: Iterable[Tenant]) -> int:
    """``number`` if it is no other tenant's, nor one of its people's. Raise UsageError otherwise."""
    for other in others:
        if number in other.user_ids:
            raise UsageError(f"the user id {number} is taken in the tenant {other.name}", resolution="choose another number")
    return number


def _quotas(document: Document, node: yaml.Node | None) -> MappingProxyType[str, float]:
    quotas = {}
    for key, value in document.pairs(node):
        resource = document.scalar(key, parse_resource)
        quotas[resource] = document.scalar(value, partial(parse_amount, resource))
    return MappingProxyType(quotas)


def _defaults(document: Document, node: yaml.Node | None) -> MappingProxyType[str, str]:
    defaults = {}
    for key, value in document.pairs(node):
        name = document.scalar(key, str)
        defaults[name] = document.scalar(value, partial(check_default, name))
    return MappingProxyType(defaults)


def _members(document: Document, node: yaml.Node | None, tenant: str, own_id: Callable[[str], int]) -> tuple[Member, ...]:
    members: dict[str, Member] = {}
    for item in document.items(node) if node is not None else ():
        fields = document.mapping(item, required=("name", "user_id"), more=("keys",))
        name = document.scalar(fields["name"], lambda text: member_name(text, tenant))
        if name in members:
            raise document.wrong(item.start_mark.line, f"the member {name!r} is declared twice")
        keys = document.items(fields["keys"]) if "keys" in fields else ()
        members[name] = Member(name, document.scalar(fields["user_id"], own_id), tuple(document.scalar(key, public_key) for key in keys))
    return tuple(members.values())


def numbered(tenant: Tenant, taken: Collection[int]) -> Tenant:
    """``tenant`` with the lowest free user id for each of its people who has none (0): the tenant first, then members in order."""
    free = (number for number in range(FIRST_USER_ID, 2**31) if number not in taken and number not in tenant.user_ids)
    own = tenant.user_id or next(free)
    return replace(
        tenant, user_id=own, members=tuple(each if each.user_id else replace(each, user_id=next(free)) for each in tenant.members)
    )
