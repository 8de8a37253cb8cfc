"""How a snapshot takes the place of another in a local folder, so that a glob never sees a row twice.

A name cannot appear and another vanish in one step. So the new files have names in ``_snapshots/NUMBER/`` first, which
no glob of the output matches; the manifest that lists them there is the moment from which they count; only then do the
files of before lose their names in the output, and after that the new ones get theirs. The last manifest lists them
under those. Whoever follows the manifest finds all files of either snapshot at every moment. Whoever globs sees
the old snapshot, then what both have in common, then the new one; of a job that is killed in between, the next goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline import storage
from pipeline.errors import SinkError
from pipeline.sinks.folder import MANIFEST, SNAPSHOTS
from pipeline.sinks.snapshots.manifest import Manifest
from pipeline.sinks.snapshots.retention import shown_files


def waiting_room(output: str, number: int) -> str:
    """Where the new files of a snapshot wait: a folder in the output, with a slash; none in an object store."""
    return f"{SNAPSHOTS}/{number}/" if storage.is_local(output) else ""


def publish(output: str, manifest: Manifest, new: set[str], version: str | None) -> None:
    """Replaces the manifest, and shows the new files under the names that it lists.

    Args:
        output: The folder.
        manifest: Of the new snapshot.
        new: Those of its files that the last one has not.
        version: Of the last manifest; None where there is none.

    Raises:
        SinkError: Another job has published meanwhile, or a name cannot be made.
    """
    room = waiting_room(output, manifest.snapshot)
    if room and new:
        waiting = _renamed(manifest, lambda name: room + name if name in new else name)
        version = _replace(output, waiting, version)
        _show(output, manifest, room, new)
    _replace(output, manifest, version)


def complete(output: str) -> None:
    """Goes on where a job was killed while it published."""
    try:
        content, version = storage.read_version(storage.join(output, MANIFEST))
    except FileNotFoundError:
        return
    waiting = Manifest.from_json(content)
    room = waiting_room(output, waiting.snapshot)
    new = {name.removeprefix(room) for name in waiting.names if name.startswith(room)}
    if room and new:
        manifest = _renamed(waiting, lambda name: name.removeprefix(room))
        _show(output, manifest, room, new)
        _replace(output, manifest, version)


def _show(output: str, manifest: Manifest, room: str, new: set[str]) -> None:
    """Takes the names of the files that the manifest does not list, then names those that wait."""
    listed = manifest.names
    shown = (info.url for info in shown_files(output))
    storage.remove_all(
        url for url in shown if url.removeprefix(storage.join(output, "")) not in listed
    )
    for name in sorted(new):
        storage.copy(storage.join(output, room + name), storage.join(output, name))


def _replace(output: str, manifest: Manifest, version: str | None) -> str:
    url = storage.join(output, MANIFEST)
    replaced = storage.replace_if(url, manifest.to_json(), version)
    if replaced is None:
        raise SinkError(
            "another job has published meanwhile",
            where=output,
            fix="let one job at a time write there; run it again",
        )
    return replaced


def _renamed(manifest: Manifest, rename: Callable[[str], str]) -> Manifest:
    files = tuple(replace(file, name=rename(file.name)) for file in manifest.files)
    return replace(manifest, files=files, quarantine=tuple(map(rename, manifest.quarantine)))
