"""Duration, sample rate and channels of a sound from its header; no sound is decoded."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

from pipeline.modalities.audio.containers import walk
from pipeline.modalities.audio.containers.flac import walk_flac
from pipeline.modalities.audio.containers.layout import Layout, Remark, is_unknown, shortage
from pipeline.modalities.audio.containers.ogg import walk_ogg
from pipeline.modalities.content import Content
from pipeline.modalities.decoding.foreign import RAISED, refusal

MAX_CHUNKS = 64  # of a WAV before its data
OGG_TAIL_BYTES = 1 << 16  # a page of Ogg is at most 65,307 bytes, and the last one tells the length
MP3_SEARCH_BYTES = 4096  # where the first frame of an MP3 is looked for
OPENED_BYTES = 8 << 20  # other sounds up to this size are opened with libsndfile
_PLAIN_WAV = (1, 3, 6, 7, 0xFFFE)  # PCM, float, A-law, mu-law, and their extensible form


class AudioHeader(NamedTuple):
    """What a sound's header says.

    Attributes:
        seconds: Duration.
        sample_rate_hz: Samples a second of each channel.
        channels: How many.
        exact: Whether the duration is what a decoder would find, not an estimate from the size.
        problem: Why the codec refuses it; empty where the header does not tell.
        remark: What the codec notes of it.
    """

    seconds: float
    sample_rate_hz: int
    channels: int
    exact: bool = True
    problem: str = ""
    remark: Remark | None = None


def probe_audio(content: Content, name: str) -> AudioHeader | str:
    """Reads a sound's header.

    Args:
        content: The member.
        name: Its format, from :func:`pipeline.modalities.content.sniff`.

    Returns:
        The header, or why there is none; an empty string where it is too large to be opened whole.
    """
    prober = _PROBES.get(name)
    header = prober(content) if prober else None
    if header is not None and (header.problem or (header.seconds > 0 and header.channels)):
        return header
    return _by_soundfile(content)


def _wav(content: Content) -> AudioHeader | None:
    """Source: RIFF WAVE, Microsoft and IBM 1991; RF64, EBU Tech 3306."""
    offset, rate, channels, byte_rate = 12, 0, 0, 0
    for _ in range(MAX_CHUNKS):
        head = content.read(offset, 8)
        if len(head) < 8:
            return None
        name, size = bytes(head[:4]), _little(head[4:8])
        if name == b"fmt ":
            fields = content.read(offset + 8, 16)
            if len(fields) < 16:
                return None
            channels, rate = _little(fields[2:4]), _little(fields[4:8])
            plain = (
                _little(fields[:2]) in _PLAIN_WAV
            )  # then the frame's size counts, not the byte rate
            byte_rate = _little(fields[12:14]) * rate if plain else _little(fields[8:12])
        elif name == b"data":
            if not rate or not byte_rate:
                return None
            held = content.size - offset - 8
            if is_unknown(size, held):
                return AudioHeader(held / byte_rate, rate, channels)
            problem, remark = "", None
            try:
                remark = shortage("the WAV", size, held, frame=max(1, byte_rate // rate))
            except ValueError as error:
                problem = str(error)
            seconds = min(size, held) / byte_rate
            return AudioHeader(seconds, rate, channels, problem=problem, remark=remark)
        offset += 8 + size + size % 2
    return None


def _flac(content: Content) -> AudioHeader | None:
    """Source: RFC 9639, 8.2 Streaminfo."""
    head = content.read(0, 26)
    if len(head) < 26 or head[4] & 0x7F:
        return None
    packed = int.from_bytes(head[18:26], "big")
    rate, channels, samples = packed >> 44, 1 + (packed >> 41 & 7), packed & ((1 << 36) - 1)
    if not samples and content.size <= OPENED_BYTES:  # the last frame tells
        samples = _samples(walk_flac, content)
    return AudioHeader(samples / rate, rate, channels) if rate else None


def _samples(walk: Callable[[memoryview], Layout], content: Content) -> int:
    """Samples of all logical streams of a file; 0 where it is damaged, or cannot be read whole."""
    data = content.whole()
    if len(data) < content.size:
        return 0
    try:
        layout = walk(data)
    except ValueError:
        return 0
    return sum(stretch.samples or 0 for stretch in layout.stretches)


def _ogg(content: Content) -> AudioHeader | None:
    """Source: RFC 3533, page header; Vorbis I, 4.2.2; RFC 7845, 5.1 (Opus counts in 48 kHz); RFC 9639, 10.1."""
    head = content.read(0, 27 + 255 + 35)
    if len(head) < 28:
        return None
    packet = bytes(head[27 + head[26] :])
    if packet.startswith(b"\x01vorbis") and len(packet) >= 16:
        channels, rate, skipped = packet[11], int.from_bytes(packet[12:16], "little"), 0
    elif packet.startswith(b"OpusHead") and len(packet) >= 12:
        channels, rate, skipped = packet[9], 48_000, int.from_bytes(packet[10:12], "little")
    elif packet.startswith(b"\x7fFLAC") and len(packet) >= 35:
        packed = int.from_bytes(packet[27:35], "big")
        channels, rate, skipped = 1 + (packed >> 41 & 7), packed >> 44, 0
    else:
        return None
    tail = bytes(content.read(max(0, content.size - OGG_TAIL_BYTES), OGG_TAIL_BYTES))
    last = tail.rfind(b"OggS")
    position = tail[last + 6 : last + 14]
    if last < 0 or len(position) < 8 or not rate:
        return None
    if tail[last + 14 : last + 18] == head[14:18]:
        samples = max(0, int.from_bytes(position, "little", signed=True) - skipped)
        return AudioHeader(samples / rate, rate, channels)
    # Another stream follows the first, or goes on beside it.
    samples = _samples(walk_ogg, content) if content.size <= OPENED_BYTES else 0
    return AudioHeader(samples / rate, rate, channels, exact=False) if samples else None


_KBITS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = (44_100, 48_000, 32_000)


def _mp3(content: Content) -> AudioHeader | None:
    """Source: ISO/IEC 11172-3, 2.4.1.3; the Xing and Info tags of LAME.

    Where no tag tells the number of frames, the duration is estimated from the size and the first frame's bit rate.
    """
    start = 0
    tag = content.read(0, 10)
    if len(tag) == 10 and bytes(tag[:3]) == b"ID3":
        start = 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
    window = bytes(content.read(start, MP3_SEARCH_BYTES))
    for at in range(len(window) - 3):
        sync, second, third, fourth = window[at : at + 4]
        version, layer, bits, place = second >> 3 & 3, second >> 1 & 3, third >> 4, third >> 2 & 3
        if sync == 0xFF and second & 0xE0 == 0xE0 and version != 1 and layer == 1:
            if bits in (0, 15) or place == 3:
                continue
            return _mp3_frame(content.size - start - at, window[at:], version, fourth)
    return None


def _mp3_frame(size: int, frame: bytes, version: int, fourth: int) -> AudioHeader:
    """From the first frame, whose ``version`` is 3 for MPEG 1, 2 for MPEG 2, and 0 for MPEG 2.5."""
    first = version == 3
    rate = _RATES_HZ[frame[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}[version]
    kbits = (_KBITS_MPEG1 if first else _KBITS_MPEG2)[frame[2] >> 4]
    mono = fourth >> 6 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    tag = frame[4 + side :]
    skipped = 0
    if tag[:4] in (b"Xing", b"Info") and tag[7:8] and tag[7] & 1:
        frames = int.from_bytes(tag[8:12], "big")
        skipped = _mp3_skipped(tag)
    elif frame[36:40] == b"VBRI":
        frames = int.from_bytes(frame[50:54], "big")
    else:
        return AudioHeader(size * 8 / (kbits * 1000), rate, 1 if mono else 2, exact=False)
    samples = max(0, frames * (1152 if first else 576) - skipped)
    return AudioHeader(samples / rate, rate, 1 if mono else 2)


def _mp3_skipped(tag: bytes) -> int:
    """Samples that the encoder added at the beginning and the end, from LAME's part of the tag."""
    flags = tag[7]
    start = (
        8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    )
    packed = tag[start + 21 : start + 24]
    if tag[start : start + 4] not in (b"LAME", b"Lavf", b"Lavc") or len(packed) < 3:
        return 0
    both = int.from_bytes(packed, "big")
    return (both >> 12) + (both & 0xFFF)


def _by_soundfile(content: Content) -> AudioHeader | str:
    """Opens a sound as the codec does, without decoding it."""
    if content.size > OPENED_BYTES or len(data := content.whole()) < content.size:
        return ""
    import soundfile

    try:
        # Where a writer could not know the length, the header is put right.
        stretch = walk(data, whole=False).stretches[0]
        with soundfile.SoundFile(io.BytesIO(stretch.data)) as sound:
            seconds = sound.frames / sound.samplerate
            if not sound.frames:
                return "the sound holds no samples"
            return AudioHeader(seconds, int(sound.samplerate), int(sound.channels))
    except (*RAISED, MemoryError) as error:
        return refusal(error, "bad_audio", "", "the sound").what


def _little(data: memoryview) -> int:
    return int.from_bytes(data, "little")


_PROBES = {"wav": _wav, "flac": _flac, "ogg": _ogg, "mp3": _mp3}
