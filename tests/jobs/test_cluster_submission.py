"""Jobs on a real Ray head: plain ``ray job submit``, jobs.submit, and drivers beside it."""

import json
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest
from support.ray_cluster import PROJECT, RAY, Family, Head

pytestmark = pytest.mark.ray

# What a driver does in all these tests: look where it is, and let a worker import the project.
DRIVER = """
import sys, ray
from pipeline.config import ClusterConfig
from pipeline.engine.cluster.session import connect

@ray.remote
def where():
    import pipeline.sample
    return pipeline.sample.__file__

with connect(ClusterConfig(address=sys.argv[1], num_cpus=1)) as cluster:
    print("DRIVER", cluster.address, cluster.is_local, ray.get(where.remote()), flush=True)
"""

SUBMIT = """
import sys
from pathlib import Path
from pipeline.engine.cluster.package import working_dir
from pipeline.engine.cluster.submit import run_command
from pipeline.errors import PipelineError

try:
    with working_dir(Path("pyproject.toml")) as (folder, place):
        code = run_command(sys.argv[2:], folder, write=sys.stdout.write, submission_id=sys.argv[1])
except PipelineError as error:
    print(error, file=sys.stderr)
    code = error.exit_code
except KeyboardInterrupt:
    code = 130
sys.exit(code)
"""

SLEEPER = "import time; print('up', flush=True); time.sleep(99)"

SUBMIT_PLAIN = [RAY, "job", "submit", "--working-dir", "."]

# Jobs that run unchanged on a cluster: arguments after `ray job submit --working-dir . -- python`,
# and a word that their log must hold.
PLAIN = [
    pytest.param(["-c", DRIVER, "auto"], "DRIVER", id="driver"),
]


def run(code: str, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env=env,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def driver_line(output: str) -> list[str]:
    [line] = [line for line in output.splitlines() if line.startswith("DRIVER ")]
    return line.split()[1:]


@pytest.mark.parametrize(("arguments", "word"), PLAIN)
def test_plain_submission_runs_unchanged(ray_head: Head, arguments: list[str], word: str) -> None:
    done = subprocess.run(
        [*SUBMIT_PLAIN, "--address", ray_head.url, "--", "python", *arguments],
        env=ray_head.client(),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert word in done.stdout


def test_submit_returns_the_real_exit_code_and_local_means_the_jobs_own_cluster(
    ray_head: Head,
) -> None:
    code = f"{DRIVER}\nsys.exit(3)"
    env = ray_head.client(RAY_API_SERVER_ADDRESS=ray_head.url)
    done = run(SUBMIT, "three", "python", "-c", code, "local", env=env)
    assert done.returncode == 3, done.stdout + done.stderr
    address, is_local, place = driver_line(done.stdout)
    assert (address, is_local) == (ray_head.address, "False")
    assert not place.startswith(str(PROJECT))  # the worker had the code that travelled
    # The same name again is followed, not started a second time.
    again = run(SUBMIT, "three", "python", "-c", "print('never')", env=env)
    assert again.returncode == 3
    assert driver_line(again.stdout) == [address, is_local, place]
    assert "never" not in again.stdout


def test_a_job_that_refuses_its_configuration_on_the_cluster_is_code_2_here(
    ray_head: Head, tmp_path
) -> None:
    config = tmp_path / "mine.yaml"  # outside the project: it travels
    config.write_text(f"run: {tmp_path}/run\nmodalities: {{text: {{}}}}\n")
    words = ["search", str(config), "--address", ray_head.url, "infer.output=/none"]
    flags = ["--", "--text", "a dog in snow"]  # of the job, which cannot do without them
    done = subprocess.run(
        [sys.executable, "-m", "jobs.submit", *words, *flags],
        env=ray_head.client(RAY_ADDRESS="127.0.0.1:9"),  # the argument counts, not this
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "ConfigError: there are no embeddings to search | /none" in done.stdout


def test_interrupting_submit_stops_the_job(ray_head: Head) -> None:
    before = set(ray_head.family.alive())
    child = subprocess.Popen(
        [sys.executable, "-c", SUBMIT, "sleeper", "python", "-c", SLEEPER],
        env=ray_head.client(RAY_API_SERVER_ADDRESS=ray_head.url, PYTHONUNBUFFERED="1"),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    while (line := child.stdout.readline()) and line.strip() != "up":
        pass
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 130
    child.stdout.close()
    request = urllib.request.Request(
        f"{ray_head.url}/api/jobs/sleeper", headers={"Authorization": f"Bearer {ray_head.token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["status"] == "STOPPED"
    assert not [line for line in set(ray_head.family.alive()) - before if "sleep(99)" in line]


def test_a_client_without_the_token_is_told_so(ray_head: Head, tmp_path) -> None:
    env = Family().environment(RAY_API_SERVER_ADDRESS=ray_head.url, HOME=str(tmp_path))
    done = run(SUBMIT, "none", "true", env=env)
    assert done.returncode == 1
    assert "asks for a token" in done.stderr
    # With the token saved where Ray keeps it, the same command is let in.
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(ray_head.token)
    assert run(SUBMIT, "saved", "true", env=env).returncode == 0


def test_local_does_not_join_a_running_cluster(ray_head: Head, family: Family, tmp_path) -> None:
    env = family.environment(RAY_ADDRESS=ray_head.address, HOME=str(tmp_path))
    done = run(DRIVER, "local", env=env)
    assert done.returncode == 0, done.stderr
    address, is_local, place = driver_line(done.stdout)
    assert address != ray_head.address
    assert is_local == "True"
    assert place.startswith(str(PROJECT))
    assert not (tmp_path / ".ray").exists()  # no token written for others to stumble over


@pytest.mark.parametrize("address", ["auto", "HEAD"])
def test_a_driver_on_a_node_joins_and_leaves_the_cluster_running(
    ray_head: Head, address: str
) -> None:
    variables = {"RAY_ADDRESS": ray_head.address} if address == "auto" else {}
    name = address.replace("HEAD", ray_head.address)
    done = run(DRIVER, name, env=ray_head.client(**variables))
    assert done.returncode == 0, done.stderr
    assert driver_line(done.stdout)[:2] == [ray_head.address, "False"]
    assert ray_head.family.alive()


def test_a_cluster_that_is_not_there_is_one_clear_line(tmp_path) -> None:
    code = """
        import sys, time
        from pipeline.config import ClusterConfig
        from pipeline.engine.cluster.session import connect
        from pipeline.errors import PipelineError
        for address in sys.argv[1:]:
            start = time.monotonic()
            try:
                with connect(ClusterConfig(address=address)):
                    pass
            except PipelineError as error:
                print(error.exit_code, error)
                assert time.monotonic() - start < 20
    """
    codes = {"127.0.0.1:9": 1, "auto": 1, "nonsense": 2, "http://127.0.0.1:8265": 2}
    done = run(code, *codes, env=Family().environment(RAY_TMPDIR=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines] == [str(code) for code in codes.values()]
    assert all(line.count(" | ") == 2 for line in lines)


LONG = """
import os, signal, sys, time, ray
from pipeline.config import ClusterConfig
from pipeline.engine.cluster.session import configure_data, connect

# As from an interactive shell; a background process of a script ignores SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)

folder = sys.argv[1]

def work(batch):
    open(os.path.join(folder, "working"), "w").close()
    time.sleep(60)
    return batch

try:
    with connect(ClusterConfig(num_cpus=1)):
        configure_data()
        ray.data.range(4).map_batches(work, batch_size=1).materialize()
except KeyboardInterrupt:
    sys.exit(130)
"""


def start_long(folder: Path, family: Family, **more: str) -> subprocess.Popen:
    folder.mkdir()
    command = [sys.executable, "-c", LONG, str(folder)]
    return subprocess.Popen(command, env=family.environment(**more), cwd=PROJECT)


def test_interrupts_leave_no_process_and_local_jobs_do_not_disturb_one_another(tmp_path) -> None:
    stops = [signal.SIGINT, signal.SIGTERM]
    families = [Family() for _ in stops]
    try:
        children = [
            start_long(tmp_path / stop.name, family)
            for stop, family in zip(stops, families, strict=True)
        ]
        for stop, child, family in zip(stops, children, families, strict=True):
            wait_until((tmp_path / stop.name / "working").exists, 150)
            child.send_signal(stop)
            assert child.wait(30) == 130
            assert family.alive() == []
    finally:
        for family in families:
            family.kill()


def test_an_interrupt_while_ray_starts_leaves_no_process(tmp_path, family: Family) -> None:
    child = start_long(tmp_path / "long", family)
    wait_until(lambda: any("raylet" in line for line in family.alive()), 60)
    child.send_signal(signal.SIGINT)
    assert child.wait(100) == 130
    assert family.alive() == []


def test_no_process_outlives_a_killed_driver(tmp_path, family: Family) -> None:
    with tempfile.TemporaryDirectory(
        prefix="mmpk-", dir="/tmp", ignore_cleanup_errors=True
    ) as rays:
        child = start_long(tmp_path / "long", family, RAY_TMPDIR=rays)
        wait_until((tmp_path / "long" / "working").exists, 90)
        child.kill()
        child.wait()
        assert family.wait_gone(120) == []  # Ray's agents take a minute or so to notice


def wait_until(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.1)
