"""Ray addresses: what a configured one means, and whether anything answers there."""

from __future__ import annotations

import os
import re
import socket
import urllib.error
import urllib.request

from pipeline.errors import ConfigError, RunError, in_words

PROBE_SECONDS = 5.0
API_SECONDS = 10.0
API_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
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


def api_address(address: str | None = None) -> str:
    """Finds the HTTP address of a cluster's job service.

    Args:
        address: ``http(s)://HOST:PORT`` of the dashboard, or ``HOST:PORT`` of the control
            service, or ``auto``; if None, ``RAY_API_SERVER_ADDRESS`` or ``RAY_ADDRESS``.

    Returns:
        The address, beginning with ``http``.

    Raises:
        ConfigError: No address is known, or it has another form.
        RunError: Nothing answers there.
    """
    where = "--address"
    for name in API_VARIABLES:
        if not address and (address := os.environ.get(name)):
            where = name
    if not address or address == "local":
        raise ConfigError(
            "no cluster to hand the job to",
            where=where,
            fix="give --address http://HOST:8265, or set RAY_API_SERVER_ADDRESS",
        )
    if not address.startswith(("http://", "https://")):
        address = _dashboard_of(address)
    address = address.rstrip("/")
    try:
        with urllib.request.urlopen(f"{address}/api/version", timeout=API_SECONDS):
            return address
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):  # it answers, and wants a token
            return address
        raise unreachable(address, where, error) from error
    except (OSError, ValueError) as error:
        raise unreachable(address, where, error) from error


def unreachable(address: str, where: str, error: Exception) -> RunError:
    """The error for a job service that does not answer."""
    return RunError(
        f"no Ray job service answers at {address}: {in_words(error)}",
        where=where,
        fix="check that the cluster runs and that its dashboard can be reached from here",
    )


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


def _dashboard_of(address: str) -> str:
    from ray.dashboard.utils import ray_address_to_api_server_url
    from ray.exceptions import AuthenticationError

    resolved = resolve(address)
    try:
        return str(ray_address_to_api_server_url(resolved))
    except (ValueError, RuntimeError, AuthenticationError) as error:
        raise RunError(
            "the cluster does not tell the address of its job service",
            where=f"--address {address}",
            fix="give the address of its dashboard, http://HOST:8265",
        ) from error
