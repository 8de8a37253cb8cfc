"""The one command for all jobs: it lists them, starts them, and completes what is typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("multimodal")  # as pip installed it
COMPLETE = """
eval "$(multimodal completion bash)"
COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9 COMP_WORDS=($1)
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_python_argcomplete multimodal
printf '%s\\n' "${COMPREPLY[@]}"
"""


def run(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "PATH": path, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [(sys.executable, "-m", "jobs"), (str(COMMAND),)])
def test_without_a_job_all_are_listed(command: tuple[str, ...]) -> None:
    listed = run(*command)
    assert listed.returncode == 0
    names = {path.stem for path in (PROJECT / "jobs").glob("[!_]*.py")}
    rows = dict(line.split(maxsplit=1) for line in listed.stdout.splitlines() if line[:2] == "  ")
    assert set(rows) == names
    assert all(about.endswith(".") for about in rows.values())


def test_a_job_is_the_same_by_both_names(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("run: r\nmodalities: {image: }\n")
    by_command = run(str(COMMAND), "report", str(config), "--dry-run")
    by_module = run(sys.executable, "-m", "jobs.report", str(config), "--dry-run")
    assert (by_command.returncode, by_command.stdout) == (0, by_module.stdout)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian"], "did you mean train?"),
        (["completion", "tcsh"], "completion bash or zsh"),
        (["train"], "multimodal train: error: the following arguments are required: config\n"),
    ],
)
def test_a_wrong_word_is_exit_code_2(words: list[str], told: str) -> None:
    refused = run(str(COMMAND), *words)
    assert refused.returncode == 2
    assert told in refused.stderr


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("multimodal tra", {"train"}),
        ("multimodal train c.yaml train.batch", {"train.batch_size="}),
        ("multimodal search c.yaml --ht", {"--html"}),
        ("multimodal completion z", {"zsh"}),
    ],
)
def test_bash_completes(line: str, completed: set[str]) -> None:
    answered = run("bash", "-c", COMPLETE, "bash", line)
    assert {word.strip() for word in answered.stdout.split()} == completed, answered.stderr
