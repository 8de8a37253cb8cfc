"""Keeps two jobs out of one folder, wherever it lies.

| the folder is on | kept apart by |
| --- | --- |
| a disk of this machine | a lock that dies with its process: a rerun after kill -9 starts at once |
| a file system that several machines may share | the same, which the others may not see, and a lease, which they do |
| a file system without such locks | a lease |
| an object store | a lease; stores that ignore conditions are refused |
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import LockedError, SinkError
from pipeline.storage.location import is_local, join, local_path
from pipeline.storage.locking.lease import SECONDS, Lease
from pipeline.storage.probe import check_conditions

LEASE = "_commit/_lease"  # in the folder
LEASE_SECONDS = SECONDS

# File systems of one machine alone; any other kind may be mounted by several at once.
_DISKS = "ext2|ext3|ext4|xfs|btrfs|zfs|f2fs|bcachefs|jfs|nilfs2|reiserfs|ufs|apfs|hfs|hfsplus"
_OTHERS = "vfat|msdos|exfat|ntfs|ntfs3|fuseblk|tmpfs|ramfs|rootfs|overlay|aufs"
OF_ONE_MACHINE = frozenset(f"{_DISKS}|{_OTHERS}".split("|"))
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
# What file systems without such locks answer; EBADF where one would need a file that is open for writing.
_NO_LOCKS = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.EBADF,
)

_leases: dict[str, Lease] = {}  # of this process


@contextlib.contextmanager
def lock(folder: str) -> Iterator[None]:
    """Keeps other jobs out of ``folder`` while this process lives; the module says how.

    Raises:
        LockedError: Another job works there.
        SinkError: The folder cannot be written.
        ConfigError: Its store cannot keep two writers apart.
    """
    with contextlib.ExitStack() as stack:
        if is_local(folder):
            path = local_path(folder)
            locked = stack.enter_context(_locked(path, folder))
            if not locked or file_system(path) not in OF_ONE_MACHINE:
                stack.enter_context(_leased(folder, join(folder, LEASE)))
        else:
            check_conditions(folder)
            stack.enter_context(_leased(folder, join(folder, f"{LEASE}.json")))
        yield


def check_held(folder: str) -> None:
    """Checks that the lock of a folder was not lost since it was taken, as a lease can be.

    Raises:
        LockedError: It was.
    """
    if folder in _leases:
        _leases[folder].check()


def file_system(path: Path, mounts: str | None = None) -> str:
    """The kind of file system that a path is on, such as ``ext4`` or ``nfs4``.

    Args:
        path: A file or folder that is there.
        mounts: In the form of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)); None reads that, and takes the path to
            be on a disk of this machine where it cannot be read.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
        except OSError:  # not Linux
            return "ufs"
    real = f"{os.path.realpath(path)}/"
    longest, kind = "", ""
    for line in mounts.splitlines():
        place, _, source = line.partition(" - ")
        point = place.split(" ")[4]
        for code in ("\\040", "\\011", "\\012", "\\134"):
            point = point.replace(code, chr(int(code[1:], 8)))
        point = f"{point.rstrip('/')}/"
        # Of two mounts at one place, the later one covers the other.
        if real.startswith(point) and len(point) >= len(longest):
            longest, kind = point, source.split(" ")[0]
    return kind


@contextlib.contextmanager
def _leased(folder: str, url: str) -> Iterator[None]:
    lease = Lease(url, folder, LEASE_SECONDS)
    lease.acquire()
    _leases[folder] = lease
    try:
        yield
    finally:
        del _leases[folder]
        lease.release()


@contextlib.contextmanager
def _locked(path: Path, folder: str) -> Iterator[bool]:
    """Locks a folder of a mounted file system; False where that has no locks."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY)  # the folder itself is locked; no file is left behind
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        if not os.access(path, os.W_OK | os.X_OK):
            read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            cause = errno.EROFS if read_only else errno.EACCES
            raise _unusable(folder, OSError(cause, os.strerror(cause)))
        yield _flock(handle, folder)
    finally:
        os.close(handle)


def _flock(handle: int, folder: str) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise LockedError(
                "another job works on this folder",
                where=folder,
                fix="wait for it to end, or choose another output",
            ) from None
        if error.errno in _NO_LOCKS:
            return False
        raise SinkError(
            f"the folder cannot be locked: {error.strerror}",
            where=folder,
            fix="check the disk, or choose another folder",
        ) from error
    return True


def _unusable(folder: str, error: OSError) -> SinkError:
    return SinkError(
        f"the folder cannot be written: {error.strerror}",
        where=folder,
        fix="choose a folder that you may write to",
    )
