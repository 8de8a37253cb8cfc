"""The picture of a sound along its time."""

import io

import numpy as np
import soundfile
from PIL import Image

from pipeline.modalities.audio.codec import AudioCodec

RATE = 8000


def test_what_sounds_late_is_bright_to_the_right() -> None:
    codec = AudioCodec(RATE, 2 * RATE, 200, 80, 20, 60.0)
    sound = np.zeros(RATE, dtype=np.float32)  # one second, of which the picture ends
    late = slice(round(0.6 * RATE), round(0.9 * RATE))
    sound[late] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE)[late] / RATE)
    sound[-1] = 1e-3  # not silence, which is cut away
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="WAV")
    shown = codec.in_time(codec.show(memoryview(file.getvalue()), "wav"))
    assert abs(shown.seconds - 1.0) < 0.02
    picture = np.asarray(Image.open(io.BytesIO(shown.picture))).sum(axis=-1)
    columns = picture.max(axis=0)
    assert picture.shape == (20, len(columns))
    places = np.arange(len(columns)) * shown.seconds / len(columns)
    inside = (places > 0.65) & (places < 0.85)
    outside = (places < 0.5) | (places > 0.95)
    assert columns[inside].min() > columns[outside].max()
