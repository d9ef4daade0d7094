"""What somebody asks for, against what is declared: completed by the tenant's defaults, agreed with what is there, or refused.

Reads the lab, and asks the engine for the image; changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from labcloud.apply.defaults import with_defaults
from labcloud.apply.requests import CreateRequest, agree, declared
from labcloud.errors import EngineError, NotFoundError, UsageError
from labcloud.lab import Lab
from labcloud.model import FIRST_USER_ID, Cluster, Wanted
from labcloud.model.dataset import NEWEST
from labcloud.model.storage import NO_CLASSES, storage_class
from labcloud.profiles import Profile
from labcloud.providers.base import Provider


class Asking:
    """Reads requests for one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def completed(self, request: CreateRequest) -> CreateRequest:
        """``request`` with its tenant's defaults; a cluster that is there already keeps what it is."""
        tenant, there = self._lab.tenant(request.ref.tenant), self._lab.cluster(request.ref)
        if tenant is None or (there is not None and there.state is not Wanted.DELETED):
            return replace(request, provider=request.provider or (there.provider if there else None))
        return with_defaults(request, tenant, datetime.now(UTC))

    def new(self, requests: Sequence[CreateRequest], profile: Profile) -> list[Cluster]:
        """What is asked for and not declared yet."""
        new = (self.completed(each) for each in requests if self._lab.cluster(each.ref) is None)
        return [declared(each, profile, user_id=FIRST_USER_ID, sized=False) for each in new]

    def roughly(self, request: CreateRequest, profile: Profile, provider: Provider) -> Cluster:
        """The cluster that is asked for, where the engine may be silent and the nodes too small: it is for the checklist to say so."""
        try:
            return self.cluster(request, profile, provider)
        except (EngineError, NotFoundError, UsageError):
            return declared(request, profile, user_id=FIRST_USER_ID, sized=False)

    def cluster(self, request: CreateRequest, profile: Profile, provider: Provider) -> Cluster:
        """The cluster that is asked for; without an image if none is built: preflight says so.

        Raise NotFoundError for a storage class that the lab has not.
        """
        asked = self._numbered(declared(request, profile, user_id=FIRST_USER_ID))
        self._check_storage(asked)
        there = self._lab.cluster(request.ref)
        if there is not None and there.state is not Wanted.DELETED:
            return agree(request, asked, there)
        try:
            return replace(asked, image=provider.image(profile.image_name))
        except NotFoundError:
            return asked

    def _numbered(self, asked: Cluster) -> Cluster:
        """``asked`` with numbers for the newest versions of datasets; one that there is not stays for preflight to refuse."""
        if NEWEST not in asked.datasets.values():
            return asked
        known = self._lab.datasets()
        numbers = {
            name: known[name].newest.number if number == NEWEST and name in known else number for name, number in asked.datasets.items()
        }
        return replace(asked, datasets=numbers)

    def _check_storage(self, asked: Cluster) -> None:
        names = {volume.storage for group in asked.groups for volume in group.volumes} - {""}
        classes = self._lab.storage() if names else NO_CLASSES
        for name in sorted(names):
            storage_class(classes, name)
