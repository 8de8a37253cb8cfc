"""The error tree.

    PipelineError            exit code 1: failed, worth retrying
    ├── ConfigError          exit code 2: wrong command line or configuration
    ├── ModelError           exit code 2: a bundle that is damaged or does not fit the configuration
    ├── ShardError           damage to a shard; recorded, the job goes on
    ├── SampleError          damage to one sample; quarantined, the job goes on
    │   └── Absent           a good member without what it is read for; the sample is without it
    ├── BadDataError         exit code 3: too much bad data, look first
    ├── InputError           exit code 1: an input that is gone or cannot be reached
    ├── SinkError            exit code 1: an output that cannot be written
    └── RunError             exit code 1: the run folder
        └── LockedError      exit code 75: another run holds the lock

Every message reads ``what happened | where | what to do``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pipeline.safe_text.printable import printable_lines
from pipeline.safe_text.redaction import redact

MESSAGE_CHARACTERS = 200
_WORD = re.compile(r"[^\W\d_]{2,}")
# Two runs are to say the same.
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


def in_words(error: BaseException) -> str:
    """What an exception of a library says, in one line: its message, and its class where that is no sentence.

    What was raised with a bare argument (``KeyError(6)``, whose text is ``6``), or with none, says nothing by itself.
    """
    # The whole message of libsndfile names an address in memory.
    message = " ".join(str(getattr(error, "error_string", None) or error).split())
    message = _ADDRESS.sub("0x", message)
    if isinstance(error, LookupError) or len(_WORD.findall(message)) < 2:
        kind = type(error)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}."
        message = f"{module}{kind.__name__}: {message}" if message else f"{module}{kind.__name__}"
    return redact(message)[:MESSAGE_CHARACTERS]


class PipelineError(Exception):
    """An error a user can act on: what happened, where, what to do.

    Args:
        what: What happened, in one clause.
        where: Place of the fault: a file, a configuration key, or shard, key and field.
        fix: What the reader can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        # A location may be signed, and a library's words may hold a header.
        self.what, self.where, self.fix = map(redact, (what, where, fix))
        super().__init__(self.what)

    def __str__(self) -> str:
        message = " | ".join(part for part in (self.what, self.where, self.fix) if part)
        return printable_lines(message)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments would be lost on the way back from a Ray worker.
        return rebuild, (type(self), dict(self.__dict__))


def rebuild(cls: type[PipelineError], state: dict[str, object]) -> PipelineError:
    """The error that has these attributes."""
    error = cls.__new__(cls)
    Exception.__init__(error, state["what"])
    error.__dict__.update(state)
    return error


class ConfigError(PipelineError):
    """The command line or the configuration is wrong; retrying cannot help."""

    exit_code = 2


class ModelError(PipelineError):
    """A bundle is damaged, or does not fit the configuration it is used with."""

    exit_code = 2


class ShardError(PipelineError):
    """A shard is damaged.

    Args:
        what: What is wrong.
        reason: A word of the quarantine vocabulary (:data:`pipeline.sample.REASONS`).
        offset: Byte offset in the shard where the damage was met.
    """

    def __init__(
        self, what: str, *, reason: str, offset: int = 0, where: str = "", fix: str = ""
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.reason = reason
        self.offset = offset


# Reasons that begin so are of a limit or a filter: nothing is refused for them without naming its setting.
OF_SETTINGS = ("too_large", "decoder_", "filtered_")


class NoSettingError(Exception):
    """Something is refused for a limit or a filter and names no setting: a bug, and no fault of the sample."""


class SampleError(PipelineError):
    """One sample cannot be used. The only error that is quarantined; any other exception is a bug.

    Those of a limit or a filter are made by :func:`pipeline.limits.beyond`.

    Args:
        what: What is wrong, without the sample's bytes.
        reason: A word of the quarantine vocabulary (:data:`pipeline.sample.REASONS`).
        field: The field (file extension) that is at fault, if one is.
        setting: Dotted path of the setting that would let the sample through, if there is one; a limit or a filter
            always has one.
    """

    def __init__(
        self,
        what: str,
        *,
        reason: str,
        field: str = "",
        setting: str = "",
        where: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        require_setting(reason, setting)
        self.reason = reason
        self.field = field
        self.setting = setting


def require_setting(reason: str, setting: str) -> None:
    """Checks that what is refused for a limit or a filter names its setting.

    Raises:
        NoSettingError: It does not.
    """
    if not setting and reason.startswith(OF_SETTINGS):
        raise NoSettingError(reason)


class Absent(SampleError):
    """A good member that holds nothing of this modality, such as a film without sound: the sample is without it.

    Args:
        what: What it lacks, in one clause.
        field: Its extension.
    """

    def __init__(self, what: str, *, field: str) -> None:
        super().__init__(what, reason="no_modality", field=field, setting="modalities")


class BadDataError(PipelineError):
    """More of the input is bad than ``input.max_bad_fraction`` allows.

    Args:
        what: See :class:`PipelineError`, as ``where`` and ``fix``.
        reasons: Reason -> how many samples, fields and damages have it.
        settings: Reason -> the settings that would let them through.
    """

    exit_code = 3

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        fix: str = "",
        reasons: Mapping[str, int] | None = None,
        settings: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.reasons = dict(reasons or {})
        self.settings = dict(settings or {})


class InputError(PipelineError):
    """An input is gone or cannot be reached: no word on whether its data is good, so nothing is quarantined."""


class SinkError(PipelineError):
    """An output cannot be written."""


class RunError(PipelineError):
    """The run folder is missing something or cannot be used."""


class LockedError(RunError):
    """Another process works on the same output."""

    exit_code = 75
