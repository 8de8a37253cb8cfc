"""What of earlier snapshots stays, and for how long.

On local disks an earlier snapshot is a folder of its own, ``_snapshots/NUMBER``, with its manifest and second names
of its files, so that the output folder holds the files of the current one alone. In an object store there are no
second names: the files of earlier snapshots stay where they are, for as long as a manifest in ``_snapshots`` lists
them, and then for ``grace_seconds``, in which a reader that has begun may end.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline import storage
from pipeline.sinks.folder import (
    MANIFEST,
    PREFIX,
    QUARANTINE,
    SNAPSHOTS,
    base_name,
)
from pipeline.sinks.snapshots.manifest import Manifest
from pipeline.sinks.snapshots.settings import SnapshotSettings
from pipeline.storage import FileInfo


@dataclass(frozen=True)
class Retention:
    """The files of earlier snapshots of one output folder.

    Attributes:
        output: The folder.
        config: How many snapshots are kept, and how long superseded files are.
    """

    output: str
    config: SnapshotSettings

    def keep(self, manifest: Manifest) -> None:
        """Keeps the snapshot of a manifest that is going to be replaced."""
        if not self.config.keep_snapshots:
            return
        folder = self._url(SNAPSHOTS, str(manifest.snapshot))
        if storage.is_local(self.output):
            for name in manifest.names:
                storage.copy(self._url(name), storage.join(folder, name))
        storage.write_bytes(storage.join(folder, MANIFEST), manifest.to_json())

    def clear(self, manifest: Manifest | None, superseded: Mapping[str, float]) -> None:
        """Removes snapshots and files that are kept no longer, and files that were never published.

        Args:
            manifest: The current one; None where there is none.
            superseded: File -> when it was replaced.
        """
        listed = set() if manifest is None else manifest.names
        earlier = self._earlier(0 if manifest is None else manifest.snapshot)
        if not storage.is_local(self.output):
            listed = listed.union(*(manifest.names for manifest in earlier))
        over = []
        for info in shown_files(self.output):
            name = info.url.removeprefix(self._url(""))
            if name not in listed and self._is_over(info, superseded.get(name)):
                over.append(info.url)
        storage.remove_all(over)

    def _is_over(self, info: FileInfo, since: float | None) -> bool:
        """Whether nobody can be at a file any more: neither a reader nor a driver that has lost its lease."""
        if storage.is_local(self.output):
            return True
        now = time.time()
        if since is None:
            since = int(info.version) / 1e9 if info.version.isdigit() else now
        return now - since > self.config.grace_seconds

    def _earlier(self, current: int) -> list[Manifest]:
        """The manifests of the earlier snapshots that are kept; those that are not are removed."""
        folders = {int(name): storage.join(self._url(SNAPSHOTS), name) for name in self._numbers()}
        earlier = sorted(number for number in folders if number < current)
        numbers = earlier[-self.config.keep_snapshots :] if self.config.keep_snapshots else []
        for number in folders.keys() - numbers:
            if storage.is_local(self.output):
                storage.remove_folder(folders[number])
            else:
                storage.remove(storage.join(folders[number], MANIFEST))
        if not numbers and storage.is_local(self.output):
            shutil.rmtree(storage.local_path(self._url(SNAPSHOTS)), ignore_errors=True)
        urls = [storage.join(folders[number], MANIFEST) for number in numbers]
        return [Manifest.from_json(storage.read_bytes(url)) for url in urls]

    def _numbers(self) -> Iterable[str]:
        """Names of the folders in ``_snapshots``, those that are not whole included."""
        root = self._url(SNAPSHOTS)
        if storage.is_local(self.output):
            path = storage.local_path(root)
            names = {file.name for file in path.iterdir()} if path.is_dir() else set()
        else:
            infos = storage.list_files(root, recursive=True)
            names = {base_name(info.url.rpartition("/")[0]) for info in infos}
        return {name for name in names if name.isdigit()}

    def _url(self, *names: str) -> str:
        return storage.join(self.output, *names)


def shown_files(output: str) -> Iterator[FileInfo]:
    """The files of snapshots that lie in an output folder and its partitions, published or not."""
    if storage.is_local(output):
        root = storage.local_path(output)
        inside = [path.name for path in root.iterdir() if "=" in path.name] if root.is_dir() else []
        folders = [output, *(storage.join(output, name) for name in (QUARANTINE, *inside))]
        infos = [info for folder in folders for info in storage.list_files(folder)]
    else:
        infos = storage.list_files(output, recursive=True)
    for info in infos:
        folder = info.url.removeprefix(storage.join(output, "")).rpartition("/")[0]
        if base_name(info.url).startswith(PREFIX) and (folder in ("", QUARANTINE) or "=" in folder):
            yield info
