"""Tokens: a local Ray gets a secret of its own, a cluster gets the saved one only when it asks."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# One secret for the life of this process: Ray's core keeps the first one it reads.
_SECRET = secrets.token_hex(32)


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Sets environment variables, and puts back what was there before.

    Args:
        values: Name -> value; None removes the variable.
    """
    before = {name: os.environ.get(name) for name in values}
    _apply(values)
    try:
        yield
    finally:
        _apply(before)


@contextmanager
def private_token() -> Iterator[str]:
    """Makes a Ray that is started inside answer to this process only.

    Ray's ports listen on every network interface, so a local Ray without a token would run code
    for anyone who can reach the machine. Left alone, Ray writes a token into the home folder, and
    from then on ``ray start`` and ``ray job submit`` behave differently for this user. A token in
    the environment avoids both: only the processes started here inherit it.

    Yields:
        The token, the value of ``RAY_AUTH_TOKEN`` in those processes.
    """
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _SECRET, "RAY_AUTH_TOKEN_PATH": None}
    try:
        with environment(secret):
            _reread()
            yield _SECRET
    finally:
        _reread()


def use_saved_token() -> bool:
    """Answers a cluster's refusal: turns token mode on if this user has a token.

    Ray's clients never do this for an address given explicitly. A mode that the user has set is
    left alone, and no token is sent to a cluster that has not asked for one.

    Returns:
        True if a second attempt makes sense.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return False
    if not _core().AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        return False
    os.environ["RAY_AUTH_MODE"] = "token"
    _reread()
    return True


def _reread() -> None:
    # Ray's core reads mode and token once; these are the calls Ray itself makes after a change.
    core = _core()
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()


def _core() -> Any:
    from ray import _raylet

    return _raylet


def _apply(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
