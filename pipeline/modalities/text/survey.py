"""What lint tells of a text, which has no header and is read whole where it is short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import SampleError
from pipeline.modalities.content import Content
from pipeline.modalities.facets import Facts, ProbeRules
from pipeline.modalities.text.codec import read_text, too_long

if TYPE_CHECKING:
    from pipeline.modalities.text import TextConfig


def survey(content: Content, field: str, config: TextConfig, rules: ProbeRules) -> Facts:
    """Characters, and whether there are any; see :meth:`ModalityConfig.probe`."""
    if content.size > config.max_bytes:
        return Facts(fault=too_long(content.size, config.max_bytes, field))
    if content.size > rules.read_bytes:
        return Facts()
    try:
        text = read_text(content.whole(), field, config.encoding)
    except SampleError as error:
        return Facts(fault=error)
    notes = () if text.strip() else ("empty",)
    return Facts(ranges={"characters": len(text)}, notes=notes)
