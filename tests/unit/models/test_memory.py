"""Freed memory that a process keeps: the next batch does not pay for it again."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from pipeline.models.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for turn in range(4):
    before = faults()
    for layer in range(8):
        block = libc.malloc(32 << 20)
        ctypes.memset(block, layer, 32 << 20)
        libc.free(block)
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_memory_is_faulted_in_once() -> None:
    faults = {}
    for word in ("plain", "kept"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True
        )
        faults[word] = int(done.stdout)
    pages = 8 * (32 << 20) // 4096
    if faults["plain"] < pages // 2:
        pytest.skip("the pages of this system are large")
    assert faults["kept"] < pages // 100
