"""The results of a soak: a line that says what was measured, then a line for each trial of it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from bench.soak.kills import SURVIVED

PROJECT = Path(__file__).resolve().parents[2]
CODE = ("pipeline", "jobs")  # folders whose content is measured
WRONG = (
    "lost",
    "doubled",
    "different",
    "foreign",
    "quarantine",
    "rerun_exit_code",
    "problems",
    "left",
)
Trial = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What trials are of; those of anything else do not count.

    Attributes:
        commit: Of the project.
        changes: Digest of what the code has that the commit has not; empty where there is nothing.
        seed: Of the points of time.
    """

    commit: str
    changes: str
    seed: int

    @classmethod
    def of(cls, project: Path, seed: int) -> Measured:
        """The code as it lies in a folder, which is a git repository."""
        status = _git(project, "status", "--porcelain", "--untracked-files=all", "--", *CODE)
        digest = blake2b(_git(project, "diff", "HEAD", "--", *CODE), digest_size=6)
        for line in status.decode().splitlines():
            if line.startswith("??"):
                digest.update(line.encode() + (project / line[3:].strip('"')).read_bytes())
        commit = _git(project, "rev-parse", "--short", "HEAD").decode().strip()
        return cls(commit, digest.hexdigest() if status else "", seed)

    def __str__(self) -> str:
        return f"{self.commit}{self.changes and ' with changes ' + self.changes}, seed {self.seed}"


class Results:
    """The file of all soaks.

    Args:
        path: Of the file, which need not be there.
        measured: What is measured now.
    """

    def __init__(self, path: Path, measured: Measured) -> None:
        self.path, self.measured = path, measured
        self.trials: list[Trial] = []
        self.others: dict[Measured, list[Trial]] = {}
        self._last: Measured | None = None
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            values = json.loads(line)
            if "trial" not in values:
                names = ("commit", "changes", "seed")
                self._last = Measured(*(values.get(name, "") for name in names))
            elif self._last == measured:
                self.trials.append(values)
            elif self._last is not None:
                self.others.setdefault(self._last, []).append(values)

    def add(self, trial: Trial) -> None:
        """Writes a trial of what is measured now."""
        lines = [trial]
        if self._last != self.measured:
            lines.insert(0, {**environment(), **asdict(self.measured)})
            self._last = self.measured
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        self.trials.append(trial)

    def verdict(self) -> list[str]:
        """What came of it, in words; trials of other code are named as such."""
        lines = [
            f"not counted, of {other}: {_outcome(trials)}" for other, trials in self.others.items()
        ]
        return [*lines, f"of {self.measured}: {_outcome(self.trials)}"]


def passed(trial: Trial) -> bool:
    """Whether a trial went as it should."""
    survived = trial["kind"] not in SURVIVED or trial["killed_exit_code"] == 0
    return survived and not any(trial[name] for name in WRONG)


def environment() -> dict[str, Any]:
    """Machine and versions."""
    import ray

    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "ray": ray.__version__,
    }


def _outcome(trials: list[Trial]) -> str:
    bad = [trial["trial"] for trial in trials if not passed(trial)]
    return f"{len(trials)} kills, {len(bad)} went wrong{f': {bad}' if bad else ''}"


def _git(project: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(project), *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout
