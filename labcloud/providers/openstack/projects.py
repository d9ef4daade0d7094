"""Tenants as Keystone projects: found by their tags, made with a user of their own and the tenant's quotas, or adopted.

A project has tags that say whose it is, and one more if labcloud made it: only such a one is ever deleted, and no other is used without an
administrator's sign. What a user of it needs in order to work there with OpenStack's own tools is a ``clouds.yaml`` below
``HOME/secrets/openstack``, which only the operator reads.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from labcloud.errors import ConflictError, EngineError, LabError, NotFoundError
from labcloud.lab.files import disk_errors, make_private, replace
from labcloud.model import Resource, Tenant
from labcloud.providers.openstack import identity
from labcloud.providers.openstack.connection import Cloud, refused
from labcloud.providers.openstack.settings import Settings

if TYPE_CHECKING:
    from openstack.connection import Connection

_MADE: Final = f"{identity.PREFIX}made"
ADOPT: Final = f"{identity.PREFIX}adopt"
"""The tag by which an administrator says that labcloud may use a project that is there already."""
_PASSWORD_BYTES: Final = 24
# A tenant's quotas by Nova's names. Their units, MiB as well as Cinder's GiB, are labcloud's own.
_SERVERS: Final = {"instances": Resource.NODES, "cores": Resource.CPUS, "ram": Resource.MEMORY}


class Projects:
    """The projects of one lab's tenants. ``home`` is the lab's folder."""

    def __init__(self, cloud: Cloud, lab: str, settings: Settings, home: Path) -> None:
        self._cloud, self._lab, self._settings = cloud, lab, settings
        self._secrets = home / "secrets" / "openstack"

    def all(self) -> dict[str, str]:
        """The ids of projects by tenant, of those in which this user has a role."""
        mine = f"{identity.LAB}={self._lab}"

        def ask(api: Connection) -> list[Any]:
            return list(_keystone(api).user_projects(api.current_user_id))

        found = {}
        for each in self._cloud.read("ask which projects there are", ask):
            marks = dict(tag.partition("=")[::2] for tag in each.tags or ())
            if mine in (each.tags or ()) and identity.TENANT in marks:
                found[marks[identity.TENANT]] = str(each.id)
        return found

    def ensure(self, tenant: Tenant) -> str:
        """The id of the tenant's project, which is made if there is none, with a user of its own, or adopted if there is one of the
        tenant's name with the tag `ADOPT`; it gets the tenant's quotas. Raise ConflictError for any other project of that name, EngineError
        for who is no administrator."""
        name, marks = tenant.name, self._marks(tenant.name)
        with self._administrator(f"make the project of {name}") as api:
            there, domain = self._named(api, name)
            project = there or _keystone(api).create_project(name=name, domain_id=domain, tags=[*marks, _MADE])
            tags = list(project.tags or ())
            others = [tag for tag in tags if tag.startswith(f"{identity.LAB}=") and tag not in marks]
            if others:
                raise ConflictError(
                    f"the project {name} belongs to another lab", details=f"project {project.id}, {others[0]}",
                    resolution="choose another name for the tenant",
                )  # fmt: skip
            if not set(marks) <= set(tags):
                if ADOPT not in tags:  # a cloud's own projects have names as well
                    raise ConflictError(
                        f"there is a project {name} already, which labcloud has not made", details=f"project {project.id}",
                        resolution=f"choose another name; or, if that is the tenant's: openstack project set --tag {ADOPT} {name}",
                    )  # fmt: skip
                project.set_tags(_keystone(api), [*tags, *marks])
            if _MADE in tags and not self.credentials(name).exists():
                self._make_user(api, name, project)
            # Last: by its role this user finds the project the next time, and takes it for whole.
            _keystone(api).assign_project_role_to_user(project, api.current_user_id, self._role(api))
        self._limit(str(project.id), tenant, made=_MADE in tags)
        return str(project.id)

    def _marks(self, tenant: str) -> list[str]:
        return [f"{identity.LAB}={self._lab}", f"{identity.TENANT}={tenant}"]

    def _named(self, api: Connection, tenant: str) -> tuple[Any | None, str]:
        """The project of the tenant's name, and the domain that it is in: this user's. Asked of all, for Keystone keeps lists of a user's
        projects for a while."""
        domain = str(_keystone(api).get_project(api.current_project_id).domain_id)
        found = list(_keystone(api).projects(name=tenant, domain_id=domain))
        return (found[0] if found else None), domain

    @contextmanager
    def _administrator(self, doing: str) -> Iterator[Connection]:
        try:
            with self._cloud.change(doing) as api:
                yield api
        except LabError as exc:
            if refused(exc, 403):
                raise EngineError(
                    f"could not {doing}: only an administrator of {self._cloud.label} may", details=exc.details or exc.brief,
                    resolution="let one do it, with the same lab: labcloud tenant create T --provider openstack",
                ) from exc  # fmt: skip
            raise

    def _make_user(self, api: Connection, tenant: str, project: Any) -> None:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        name = identity.tenant_resource(tenant)
        there = list(_keystone(api).users(name=name, domain_id=project.domain_id))
        user = there[0] if there else _keystone(api).create_user(name=name, domain_id=project.domain_id, default_project_id=project.id)
        _keystone(api).update_user(user, password=password)
        _keystone(api).assign_project_role_to_user(project, user, self._role(api))
        auth = {
            "auth_url": api.config.get_auth_args()["auth_url"], "username": name, "password": password, "project_id": project.id,
            "user_domain_id": project.domain_id,
        }  # fmt: skip
        described = {"auth": auth, "region_name": api.config.get_region_name() or None, "cacert": api.config.config.get("cacert")}
        make_private(self._secrets)
        with disk_errors(f"write {self.credentials(tenant)}"):
            text = yaml.safe_dump({"clouds": {tenant: {key: value for key, value in described.items() if value}}})
            replace(self.credentials(tenant), text, scratch=self.credentials(tenant).with_suffix(".new"))

    def credentials(self, tenant: str) -> Path:
        """The ``clouds.yaml`` of a tenant whose user labcloud made."""
        return self._secrets / f"{tenant}.clouds.yaml"

    def _role(self, api: Connection) -> Any:
        role = _keystone(api).find_role(self._settings.role)
        if role is None:
            there = ", ".join(each.name for each in _keystone(api).roles())
            raise NotFoundError(f"there is no role {self._settings.role!r}", resolution=f"say another as 'role' in openstack.yaml: {there}")
        return role

    def _limit(self, id: str, tenant: Tenant, *, made: bool) -> None:
        """Let OpenStack keep the tenant's quotas as well. What the tenant has no quota of is what the cloud has for everybody, in a project
        that labcloud ``made``, and stays as it is in others."""
        servers = {name: _amount(tenant.quotas, each) for name, each in _SERVERS.items() if each in tenant.quotas}
        with self._administrator(f"give the project of {tenant.name} its quotas") as api:
            if made:
                api.compute.revert_quota_set(id)
            if servers:  # forced: one that is under what is used blocks growth alone
                api.compute.update_quota_set(id, user=None, force=True, **servers)
            if api.has_service("block-storage"):
                if made:
                    api.block_storage.revert_quota_set(id)
                if Resource.VOLUMES in tenant.quotas:
                    api.block_storage.update_quota_set(id, gigabytes=_amount(tenant.quotas, Resource.VOLUMES))

    def delete(self, tenant: str) -> bool:
        """Delete the tenant's project and user, if labcloud made them; else let go of it. Returns whether there was one."""
        marks = self._marks(tenant)
        with self._administrator(f"delete the project of {tenant}") as api:
            project, domain = self._named(api, tenant)
            tags = list(project.tags or ()) if project else []
            if project is None or not set(marks) <= set(tags):
                return False
            if _MADE in tags:
                for user in _keystone(api).users(name=identity.tenant_resource(tenant), domain_id=domain):
                    _keystone(api).delete_user(user, ignore_missing=True)
                api.compute.revert_quota_set(project.id)
                for group in api.network.security_groups(project_id=project.id):  # Neutron gives each project one, and keeps it
                    api.network.delete_security_group(group, ignore_missing=True)
                _keystone(api).delete_project(project, ignore_missing=True)
            else:
                project.set_tags(_keystone(api), [tag for tag in tags if tag not in marks])
        with suppress(FileNotFoundError):
            self.credentials(tenant).unlink()
        return True


def _keystone(api: Connection) -> Any:
    return api.identity  # of version 3, which every Keystone has since Queens


def _amount(quotas: Mapping[str, float], resource: Resource) -> int:
    return math.ceil(quotas[resource])
