"""Nova's part of the simulated compute hosts: its own fake driver, whose snapshots of a server upload an image, as any real driver's do.

A server fails as Nova's fake drivers for faults let it (FakeBuildAbortDriver, FakeRescheduleDriver, FakeFinishMigrationFailDriver) if the
name of its flavor says so: ``fault-abort``, ``fault-HOST`` (on that host alone), ``fault-finish_migration``.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any

from nova import exception
from nova.compute import task_states
from nova.image import glance
from nova.virt import fake

_IMAGE_BYTES = 1 << 20


class SimulatedDriver(fake.FakeDriver):  # type: ignore[misc]
    vcpus = int(os.environ.get("CLOUD_VCPUS", "64"))
    memory_mb = int(os.environ.get("CLOUD_MEMORY_MIB", "262144"))
    local_gb = int(os.environ.get("CLOUD_DISK_GIB", "4096"))

    def spawn(self, context: Any, instance: Any, *arguments: Any, **options: Any) -> None:
        if instance.flavor.name == "fault-abort":
            raise exception.BuildAbortException(instance_uuid=instance.uuid, reason="this host gives up")
        if instance.flavor.name == f"fault-{instance.host}":
            raise exception.ComputeResourcesUnavailable(reason="this host changes its mind")
        super().spawn(context, instance, *arguments, **options)

    def finish_migration(self, context: Any, migration: Any, instance: Any, *arguments: Any, **options: Any) -> None:
        if instance.flavor.name == "fault-finish_migration":
            raise exception.VirtualInterfaceCreateException()
        super().finish_migration(context, migration, instance, *arguments, **options)

    def snapshot(self, context: Any, instance: Any, image_id: str, update_task_state: Callable[..., None]) -> None:
        images = glance.API()
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        facts = {"name": images.get(context, image_id)["name"], "disk_format": "raw", "container_format": "bare", "status": "active"}
        update_task_state(task_state=task_states.IMAGE_UPLOADING, expected_state=task_states.IMAGE_PENDING_UPLOAD)
        line = instance.uuid.encode() + b"\n"
        disk = (line * (_IMAGE_BYTES // len(line) + 1))[:_IMAGE_BYTES]
        images.update(context, image_id, facts, io.BytesIO(disk), purge_props=False)


# Nova looks for drivers below nova.virt alone.
sys.modules[f"nova.virt.{__name__}"] = sys.modules[__name__]
