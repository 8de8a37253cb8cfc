"""Faults of a modality, whose own code does not know what the configuration calls it."""

from __future__ import annotations

import re

from pipeline.errors import SampleError

# The modality's part of a setting's path, as the kind's own code knows it.
_OF_KIND = re.compile(r"modalities\.\w+(?=\.)")


def under_name(fault: SampleError, name: str) -> SampleError:
    """A fault whose setting is that of the modality ``name``: its kind's code does not know what it is called here."""
    setting = _OF_KIND.sub(f"modalities.{name}", fault.setting, count=1)
    if setting == fault.setting:
        return fault
    what = fault.what.replace(fault.setting, setting)
    return SampleError(what, reason=fault.reason, field=fault.field, setting=setting)
