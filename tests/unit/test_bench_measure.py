import json
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

ORPHAN = """
    import json, os, sys, time
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        held = bytearray(b"x" * 60_000_000)
        began = time.process_time()
        while time.process_time() - began < 1.0:
            pass
        time.sleep(SLEEP)
        os._exit(0)
    os.wait()
    time.sleep(0.6)
    print("a line that is no answer")
    print(json.dumps({"samples": 3}))
"""


def measure(code: str) -> dict:
    # In a process of its own: measuring adopts orphans, and those of other tests are none of its business.
    command = [sys.executable, "-m", "bench.measure", sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return {**json.loads(done.stdout), "returncode": done.returncode}


def test_what_outlives_the_command_is_counted_with_its_memory():
    found = measure(ORPHAN.replace("SLEEP", "0"))
    assert found["answer"] == {"samples": 3}
    assert found["exit_code"] == 0
    assert found["cpu_seconds"] > 0.9  # nearly all of it is the orphan's
    assert found["peak_gb"] > 0.06
    assert found["processes"] >= 2


def test_a_failure_is_told_with_its_reason():
    found = measure("import sys; sys.exit('no such shard')")
    assert found["exit_code"] == found["returncode"] == 1
    assert "no such shard" in found["error"]
    assert found["answer"] == {}


def test_shared_memory_counts_once():
    found = measure(
        """
        import json, mmap, os, time
        shared = mmap.mmap(-1, 80_000_000)
        shared.write(b"x" * 80_000_000)
        children = []
        for _ in range(3):
            child = os.fork()
            if not child:
                sum(shared[::4096])
                time.sleep(1.2)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        print(json.dumps({}))
        """
    )
    assert 0.08 < found["peak_gb"] < 0.2  # three copies are 0.24
    assert found["peak_kinds"]["shmem"] > 0.075
