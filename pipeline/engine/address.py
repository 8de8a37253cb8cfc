"""Ray addresses: what a configured one means, and whether anything answers there."""

from __future__ import annotations

import os
import re
import socket

from pipeline.errors import ConfigError, RunError

PROBE_SECONDS = 5.0
_HOST_PORT = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):\d{1,5}")
# What opens an HTTP/2 connection (RFC 9113, 3.4), and the first frame a server answers with.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS_FRAME = 4


def inside_ray_job() -> bool:
    """True in the driver of a job that was submitted to a Ray cluster."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def resolve(address: str) -> str | None:
    """Finds the cluster that a configured address means, and sees whether it answers.

    Args:
        address: ``local``, ``auto`` or ``host:port``.

    Returns:
        ``host:port`` of a control service that answers; None to start a Ray of one's own.

    Raises:
        ConfigError: The address has another form.
        RunError: There is no such cluster, or nothing answers within 5 s.
    """
    where = f"cluster.address={address}"
    if address == "local":
        if not inside_ray_job():
            return None
        address = "auto"
    if address == "auto":
        address, where = _running(where)
    if "://" in address or not _HOST_PORT.fullmatch(address):
        raise ConfigError(
            f"{address} is not the address of a Ray cluster's control service",
            where=where,
            fix="use local, auto or HOST:PORT; for an http:// address use python -m jobs.submit",
        )
    if not _answers(address):
        raise RunError(
            f"no Ray cluster answers at {address}",
            where=where,
            fix="check that the cluster runs (ray status) and that this machine reaches it",
        )
    return address


def _running(where: str) -> tuple[str, str]:
    # Ray's own "auto" also picks up any control service in the process list, private ones too.
    if (address := os.environ.get("RAY_ADDRESS", "")) and address != "auto":
        return address, f"RAY_ADDRESS={address}"
    from ray._private.utils import read_ray_address

    recorded = read_ray_address()
    if not recorded:
        raise RunError(
            "no running Ray cluster is known on this machine",
            where=where,
            fix="start one with ray start --head, set RAY_ADDRESS, or use cluster.address=local",
        )
    return str(recorded), where


def _answers(address: str) -> bool:
    # ray.init() waits more than a minute for a dead address, and takes no signal meanwhile.
    host, _, port = address.rpartition(":")
    try:
        link = socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS)
    except (OSError, OverflowError):
        return False
    with link:
        if os.environ.get("RAY_USE_TLS", "0") in ("1", "true"):
            return True
        try:
            link.sendall(_PREFACE)
            return _is_settings(link.recv(9))
        except OSError:
            return False


def _is_settings(frame: bytes) -> bool:
    return len(frame) > 3 and frame[3] == _SETTINGS_FRAME
