"""A vector as a small picture, drawn where members are decoded: a plotting library takes seconds to import there."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 320, 160
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 8, 18
# Drawn larger and made smaller, which smooths lines.
SCALE = 2
# More points than that say nothing more at this width, and take their time.
MAX_POINTS = 2000
# Lines that an eye can tell apart, and features that are drawn as bars.
MAX_CHANNELS = 12
MARGIN_FRACTION = 0.05  # above and below the values
INK, FRAME = (60, 60, 60), (200, 200, 200)
COLOURS = (
    (31, 119, 180), (235, 120, 20), (44, 150, 44), (200, 40, 40), (140, 100, 180), (130, 85, 75),
    (220, 115, 190), (110, 110, 110), (165, 165, 30), (25, 175, 190), (20, 60, 120), (90, 30, 90),
)  # fmt: skip

Point = tuple[float, float]


def with_gaps(both: np.ndarray) -> np.ndarray:
    """Values and which of them are real, float (2, *shape) -> (*shape), NaN where one is missing."""
    gapped: np.ndarray = np.where(both[1] > 0, both[0], np.nan)
    return gapped


def line_plot(values: np.ndarray, like: np.ndarray | None = None) -> bytes:
    """Draws values over their place: a line a channel of a series, bars of a few features.

    Args:
        values: float (L,) or (T, C), NaN where one is missing, which leaves a gap.
        like: Values whose vertical axis it gets, so that several plots can be compared; its own by default.

    Returns:
        PNG of 320 x 160 pixels. Of long series every n-th step is drawn, and of many channels the first 12.
    """
    are_bars = values.ndim == 1 and len(values) <= MAX_CHANNELS
    low, high = _limits(values if like is None else like, with_zero=are_bars)
    picture = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "white")
    draw = ImageDraw.Draw(picture)
    _draw_frame(draw, low, high, len(values))
    places = np.arange(0, len(values), -(-len(values) // MAX_POINTS))
    x = LEFT + (places + 0.5) / len(values) * (WIDTH - LEFT - RIGHT)
    for channel, line in enumerate(values.reshape(len(values), -1).T[:MAX_CHANNELS]):
        y = _height(line[places].astype(np.float64), low, high)
        colour = COLOURS[channel]
        if are_bars:
            zero = float(_height(np.zeros(1), low, high)[0])
            _draw_bars(draw, list(zip(x.tolist(), y.tolist(), strict=True)), zero, colour)
        else:
            for stretch in _stretches(x, y):
                _draw_line(draw, stretch, colour)
    data = io.BytesIO()
    picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX).save(data, "PNG", optimize=True)
    return data.getvalue()


def _limits(values: np.ndarray, *, with_zero: bool) -> tuple[float, float]:
    """What the vertical axis shows."""
    real = values[np.isfinite(values)].astype(np.float64)
    real = np.append(real, 0.0) if with_zero or not len(real) else real
    low, high = float(real.min()), float(real.max())
    margin = MARGIN_FRACTION * (high - low) or max(1.0, abs(high) * MARGIN_FRACTION)
    return low - margin, high + margin


def _height(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Pixels from the top, before they are scaled; NaN stays."""
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    return TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM)


def _stretches(x: np.ndarray, y: np.ndarray) -> Iterator[list[Point]]:
    """Neighbouring points that are there."""
    stretch: list[Point] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        if point[1] == point[1]:
            stretch.append(point)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _draw_line(draw: ImageDraw.ImageDraw, points: list[Point], colour: tuple[int, ...]) -> None:
    scaled = [(x * SCALE, y * SCALE) for x, y in points]
    if len(scaled) > 1:
        draw.line(scaled, fill=colour, width=SCALE)
    else:
        [(x, y)] = scaled
        draw.ellipse((x - SCALE, y - SCALE, x + SCALE, y + SCALE), fill=colour)


def _draw_bars(
    draw: ImageDraw.ImageDraw, points: list[Point], zero: float, colour: tuple[int, ...]
) -> None:
    half = 0.4 * (WIDTH - LEFT - RIGHT) / max(1, len(points))
    for x, y in points:
        if y == y:
            top, bottom = sorted((y, zero))
            corners = (x - half, top, x + half, max(bottom, top + 1))
            draw.rectangle([SCALE * corner for corner in corners], fill=colour)


def _draw_frame(draw: ImageDraw.ImageDraw, low: float, high: float, count: int) -> None:
    """The frame, the ends of the vertical axis, and the first and last place."""
    font = ImageFont.load_default(size=10 * SCALE)
    corners = (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    draw.rectangle([SCALE * corner for corner in corners], outline=FRAME, width=1)
    texts = (
        (LEFT - 3, TOP, f"{high:.4g}", "rt"),
        (LEFT - 3, HEIGHT - BOTTOM, f"{low:.4g}", "rb"),
        (LEFT, HEIGHT - BOTTOM + 4, "0", "lt"),
        (WIDTH - RIGHT, HEIGHT - BOTTOM + 4, str(count - 1), "rt"),
    )
    for x, y, text, anchor in texts:
        draw.text((x * SCALE, y * SCALE), text, fill=INK, font=font, anchor=anchor)
