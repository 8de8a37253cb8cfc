"""What the containers of sounds hold by their own account, walked before a decoder sees them.

Decoders stop where they lose their way, and few of them say so: what they give is held against what was found here.
"""

from __future__ import annotations

from pipeline.modalities.audio.containers.chunks import CHUNKED, walk_chunks
from pipeline.modalities.audio.containers.flac import read_stream_info, walk_flac
from pipeline.modalities.audio.containers.layout import Layout, Stretch
from pipeline.modalities.audio.containers.mp3 import walk_mp3
from pipeline.modalities.audio.containers.mp3_frames import after_id3
from pipeline.modalities.audio.containers.ogg import walk_ogg
from pipeline.modalities.content import SNIFFED_BYTES, sniff


def walk(data: memoryview, *, whole: bool) -> Layout:
    """Looks at what libsndfile passes over.

    Args:
        data: A sound of any kind.
        whole: Walks MPEG audio, Ogg and FLAC to their end; otherwise they are left to the decoder, if it can read them.

    Raises:
        ValueError: The file is damaged, or no sound of a known format.
    """
    content = data[after_id3(data) :]  # a tag may stand before any format
    head = bytes(content[:4])
    if head in CHUNKED:
        return walk_chunks(content)
    if head == b"fLaC":
        info = read_stream_info(content)
        if whole or (info is not None and not info.samples):
            return walk_flac(content)
        return Layout([Stretch(content)], walked=False)
    if head == b"OggS":
        return walk_ogg(content) if whole else Layout([Stretch(content)], walked=False)
    if len(content) < len(data) or (head[:1] == b"\xff" and head[1:2] >= b"\xe2"):
        if whole:
            return walk_mp3(data)
        return Layout([Stretch(data)], walked=False, noisy=True)
    raise ValueError(f"not a sound of a known format, but {sniff(bytes(data[:SNIFFED_BYTES]))}")
