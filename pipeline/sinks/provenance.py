"""What an output folder was made from: the settings that its rows depend on, and the input; another job is refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline import runs, storage
from pipeline.errors import ConfigError
from pipeline.sinks.folder import COMMIT, IDENTITY
from pipeline.sinks.origin import INPUT, Origin
from pipeline.sinks.records import Records
from pipeline.sinks.snapshots.manifest import FORMAT
from pipeline.sinks.snapshots.retention import shown_files


@dataclass(frozen=True)
class Provenance:
    """What a job would make an output from, to be held against what the output says of itself.

    Attributes:
        output: The folder.
        identity: What the rows depend on, the input aside.
        origin: The input; None where it is not looked at.
        replace: Whether rows of other settings or of another input may go.
        replacing: The setting that says so.
        remedy: What else can be done, as the user would do it.
    """

    output: str
    identity: Mapping[str, object]
    origin: Origin | None
    replace: bool = False
    replacing: str = ""
    remedy: str = "choose another output folder, or remove this one"

    def difference(self) -> str | None:
        """In what the settings of the rows that are there differ; empty where in nothing, None where none are there."""
        identity = noted_identity(self.output)
        if identity is None:
            return None
        return next(runs.differences(identity, self._whole_identity()), "")

    def made_from(self) -> Origin | None:
        """The input of the rows that are there; None where it was not noted."""
        return Origin.read(self._url(INPUT))

    def same_patterns(self) -> bool:
        """Whether the input has the patterns of the rows that are there; also where those were not noted."""
        origin = self.made_from()
        return origin is None or self.origin is None or origin.patterns == self.origin.patterns

    def check(self, recorded: Collection[str], planned: Collection[str] | None) -> None:
        """Refuses what must not be written to this output; changes nothing.

        Args:
            recorded: Identities of the parts that are done.
            planned: Identities of those of the input; None where the job follows its input wherever it leads.

        Raises:
            ConfigError: It was made from something else, which is named; or no job of this kind has made it.
        """
        difference = self.difference()
        if difference is None:
            self._check_nobody_elses()
        elif difference and not self.replace:
            raise self._refused(f"the output was made with other settings: {difference}")
        elif not difference and not self.replace and self.origin and planned is not None:
            refusal = self.origin.refusal(self.made_from(), recorded, planned)
            if refusal is not None:
                raise self._refused(refusal)

    def note(self, attachments: Mapping[str, bytes], *, origin: bool) -> None:
        """Makes the output one of this job; what is done and not published of another is forgotten.

        Readers see the rows of before until those of this job are published.

        Args:
            attachments: File name -> content of what lies beside the identity.
            origin: Whether the input is noted too.
        """
        difference = self.difference()
        if difference is None or difference:
            records = Records(self.output)
            records.remove(records.attempts())
            for name, content in attachments.items():
                storage.write_bytes(self._url(name), content)
            identity = json.dumps(self._whole_identity()).encode()
            storage.write_bytes(self._url(IDENTITY), identity)
        if origin and self.origin is not None and self.made_from() != self.origin:
            self.origin.write(self._url(INPUT))

    def _whole_identity(self) -> dict[str, object]:
        identity: dict[str, object] = json.loads(json.dumps({**self.identity, "format": FORMAT}))
        return identity

    def _refused(self, what: str) -> ConfigError:
        fix = self.remedy
        if self.replacing:
            fix += f", or set {self.replacing}=true to have the new rows in the place of these"
        return ConfigError(what, where=self.output, fix=fix)

    def _check_nobody_elses(self) -> None:
        """A folder that no job has written to yet must hold nothing that publishing would take for its own."""
        stranger = next(shown_files(self.output), None)
        if stranger is not None:
            raise ConfigError(
                "the folder holds files that no job of this kind has written",
                where=stranger.url,
                fix="choose a folder that is empty, or not there yet",
            )

    def _url(self, name: str) -> str:
        return storage.join(self.output, COMMIT, name)


def noted_identity(output: str) -> dict[str, Any] | None:
    """What an output says that its rows depend on; None where no job has written there."""
    try:
        identity: dict[str, Any] = json.loads(
            storage.read_bytes(storage.join(output, COMMIT, IDENTITY))
        )
    except FileNotFoundError:
        return None
    return identity


def identity_digest(identity: Mapping[str, object]) -> str:
    """What a manifest says of the identity of its rows."""
    return runs.fingerprint({name: value for name, value in identity.items() if name != "format"})
