"""Nova's part of the simulated compute hosts: its own fake driver, whose snapshots of a server upload an image, as any real driver's do.

A server fails as Nova's fake drivers for faults let it (FakeBuildAbortDriver, FakeRescheduleDriver, FakeFinishMigrationFailDriver) if the
name of its flavor says so: ``fault-abort``, ``fault-HOST`` (on that host alone), ``fault-finish_migration``. It moves live at once, or
copies its memory for N seconds, at an even pace, if its flavor is ``copies-N``: then a move can be aborted and completed by force.
``refused-HOST`` is not let in by that host, and of ``fault-copy`` the copying fails.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from nova import exception
from nova.compute import task_states
from nova.image import glance
from nova.virt import fake

_IMAGE_BYTES = 1 << 20
_LOOK = 0.2


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

    # Moves

    def check_can_live_migrate_destination(self, context: Any, instance: Any, *arguments: Any, **options: Any) -> Any:
        if instance.flavor.name == f"refused-{self._host}":
            raise exception.MigrationPreCheckError(reason="this host lets nobody in")
        return super().check_can_live_migrate_destination(context, instance, *arguments, **options)

    def live_migration(  # noqa: PLR0917 - Nova's signature
        self, context: Any, instance: Any, dest: str, post_method: Callable[..., None], recover_method: Callable[..., None],
        block_migration: bool = False, migrate_data: Any = None,
    ) -> None:  # fmt: skip
        orders = self.__dict__.setdefault("_orders", {})
        orders.pop(instance.uuid, None)
        kind, _, seconds = instance.flavor.name.partition("-")
        if kind == "copies":
            self._copy(instance, migrate_data.migration, float(seconds), orders)
        if orders.pop(instance.uuid, "") == "abort":
            recover_method(context, instance, dest, migrate_data, migration_status="cancelled")
        elif instance.flavor.name == "fault-copy":
            recover_method(context, instance, dest, migrate_data)
        else:
            post_method(context, instance, dest, block_migration, migrate_data)

    def _copy(self, instance: Any, migration: Any, seconds: float, orders: dict[str, str]) -> None:
        total, began = instance.flavor.memory_mb << 20, time.monotonic()
        while (took := time.monotonic() - began) < seconds and instance.uuid not in orders:
            migration.memory_total, migration.memory_processed = total, int(total * took / seconds)
            migration.memory_remaining = total - migration.memory_processed
            migration.disk_total = migration.disk_processed = migration.disk_remaining = 0
            migration.save()
            time.sleep(_LOOK)

    def live_migration_force_complete(self, instance: Any) -> None:
        self.__dict__.setdefault("_orders", {})[instance.uuid] = "complete"

    def live_migration_abort(self, instance: Any) -> None:
        self.__dict__.setdefault("_orders", {})[instance.uuid] = "abort"

    def post_live_migration(self, _context: Any, instance: Any, _block_device_info: Any, _migrate_data: Any = None) -> None:
        self.instances.pop(instance.uuid, None)

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
