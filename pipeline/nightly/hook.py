"""The command that is told of a night that failed."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys

from pipeline.errors import in_words
from pipeline.logs import event

HOOK_SECONDS = 300  # that nightly.on_failure may take

logger = logging.getLogger(__name__)


def run_hook(command: str, location: str) -> None:
    """Runs a command with the page's location; that it fails is told, and changes nothing."""
    try:
        done = subprocess.run(
            [*shlex.split(command), location], timeout=HOOK_SECONDS, check=False, stdout=sys.stderr
        )
        event(logger, "on_failure", command=command, exit_code=done.returncode)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        event(logger, "on_failure", command=command, error=in_words(error))
