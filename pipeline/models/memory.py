"""Memory of networks on CPUs."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # see mallopt(3)
TRIM_BYTES = 2**31 - 1  # the most that mallopt takes
PAD_BYTES = 64 << 20


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees, for what it allocates next.

    A network on a CPU allocates and frees tens of megabytes in every layer. glibc maps such blocks and unmaps them, so
    that the system has to clear every page anew: half of the time of ResNet-50 on whole images. Values do not change.
    The process keeps about the memory of its largest batch until it ends.

    Returns:
        Whether it does; with other C libraries than glibc, nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    options = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, TRIM_BYTES), (M_TOP_PAD, PAD_BYTES))
    return all(set_option(name, value) for name, value in options)
