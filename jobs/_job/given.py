"""One sample on the command line: a flag for every kind of modality."""

from __future__ import annotations

import argparse

from pipeline.errors import ConfigError
from pipeline.modalities import kinds


def add_given(parser: argparse.ArgumentParser, about: str) -> None:
    """Adds ``--KIND`` of every kind, and ``--give NAME=VALUE`` of a modality with another name.

    Args:
        parser: Takes them.
        about: What they are for, in the words before the comma of ``--help``.
    """
    for kind, section in kinds().items():
        metavar = kind.upper() if section.IS_CELL_VALUE else "FILE"
        parser.add_argument(f"--{kind}", metavar=metavar, help=f"{about}, of the modality {kind}")
    parser.add_argument(
        "--give",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="of a modality with another name",
    )


def given(options: argparse.Namespace) -> dict[str, str]:
    """Modality -> what is given of it: a text, or the location of a file.

    Raises:
        ConfigError: ``--give`` is not NAME=VALUE.
    """
    terms = {kind: value for kind in kinds() if (value := getattr(options, kind)) is not None}
    for text in options.give:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise ConfigError(
                f"cannot read --give {text}", where="command line", fix="write --give NAME=VALUE"
            )
        terms[name] = value
    return terms


def flags_in_words() -> str:
    """The flags, for a person: ``--image, --text or --audio``."""
    *flags, end = [f"--{kind}" for kind in kinds()]
    return f"{', '.join(flags)} or {end}"
