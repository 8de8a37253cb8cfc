"""Matplotlib figures as inline SVG that takes the page's font and colours.

Text stays text, colours become CSS variables (so that one figure serves light, dark and paper), and
ids are made unique, so that any number of figures live in one page. The same data give the same bytes.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Light-mode colours and the CSS variables that replace them. Series 1 to 4 are distinguishable with
# any colour vision and have a contrast of 3:1 or more against the page.
# Source: Wong 2011, "Points of view: Color blindness", Nature Methods 8:441; the third and fourth
# are darkened for contrast.
INK, MUTED, LINE, SURFACE = "#1b1f24", "#5a6370", "#e2e5ea", "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#008a64", "#b3508a")
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    SURFACE: "var(--surface)",
    **{color: f"var(--series-{i})" for i, color in enumerate(SERIES, 1)},
}
FONT_PX = 12
WIDTH = 376  # of a figure, in CSS pixels: a phone's
_COLUMN_PX = 0.6 * FONT_PX  # width of one column of text, generously
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label such as $x_1$ is a label
    "font.size": FONT_PX,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 1,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "legend.borderaxespad": 0,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.4,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure of the page.

    Attributes:
        title: Caption.
        svg: The figure, safe to insert unescaped: everything in it was escaped when it was written.
        description: What a reader who cannot see it is told; plain text.
    """

    title: str
    svg: str
    description: str


def draw(
    name: str,
    title: str,
    description: str,
    size: tuple[float, float],
    paint: Callable[[Figure], None],
) -> Plot:
    """Draws a figure.

    Args:
        name: Unique in the page; letters and dashes.
        title: Caption.
        description: Text alternative.
        size: Width and height in CSS pixels at which text has its natural size.
        paint: Draws into the ``matplotlib.figure.Figure`` it is given.
    """
    import matplotlib  # half a second, so only where something is drawn
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # Scripts that Matplotlib's own font lacks are drawn by the reader's browser.
        warnings.filterwarnings("ignore", message="Glyph|Matplotlib currently does not support")
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), facecolor="none")
        paint(figure)
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", metadata=metadata)
    description = _printable(description)
    return Plot(title, _inline(buffer.getvalue(), name, description), description)


def add_axes(figure: Figure, left: float, top: float, right: float, bottom: float) -> Axes:
    """Axes with margins in CSS pixels."""
    width, height = (72 * inches for inches in figure.get_size_inches())
    box = (
        left / width,
        bottom / height,
        max(0.1, 1 - (left + right) / width),
        max(0.1, 1 - (top + bottom) / height),
    )
    return figure.add_axes(box)


def legend_above(axes: Axes, columns: int = 3) -> None:
    """A legend above the axes, from the figure's left edge, so that it never hides data."""
    from matplotlib.transforms import blended_transform_factory

    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0.01, 1.03),
            bbox_transform=blended_transform_factory(axes.figure.transFigure, axes.transAxes),
            ncols=columns,
            labelcolor=INK,
        )


def percent_axis(axis: Axis, ticks: int = 5) -> None:
    """Ticks of a share, written in percent."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(ticks))
    axis.set_major_formatter(percent_tick)


def percent_tick(value: float, position: float) -> str:
    """A tick of a share, 0..1, in percent."""
    return f"{100 * value:.4g} %"


def shortened(text: str, columns: int = 20) -> str:
    """Text for a figure: without control characters, at most ``columns`` wide."""
    clean = _printable(text).strip()
    if text_columns(clean) <= columns:
        return clean
    while text_columns(clean) > columns - 1:
        clean = clean[:-1]
    return clean.rstrip() + "…"


def text_columns(text: str) -> int:
    """Columns of a terminal that a text takes: 2 for a wide character, 0 for a combining one."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def text_width(texts: list[str]) -> float:
    """Width of the widest text, in CSS pixels."""
    return max((text_columns(text) for text in texts), default=0) * _COLUMN_PX


_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_NAMESPACE = re.compile(r"^\{[^}]*\}")


def _printable(text: str) -> str:
    """Text without characters that XML or a page cannot hold, or that reorder what follows."""
    return "".join(c if unicodedata.category(c) not in _UNPRINTABLE else " " for c in text)


def _inline(source: str, name: str, description: str) -> str:
    """The SVG element alone: no namespaces, no global style, ids of its own, page's colours."""
    root = ElementTree.fromstring(source)
    for parent in list(root.iter()):
        for child in list(parent):
            if _NAMESPACE.sub("", child.tag) in ("metadata", "style"):
                parent.remove(child)
    referenced = set(re.findall(r'(?:url\(|href=")#([^)"]+)', source))
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.tail = None
        if element.tag != "text" and element.text is not None:
            element.text = None
        element.attrib = dict(_attributes(element.attrib, name, referenced))
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update({"role": "img", "aria-label": description})
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(attributes: dict[str, str], name: str, referenced: set[str]) -> Any:
    for key, value in attributes.items():
        key = _NAMESPACE.sub("", key)
        if key == "id":
            if value in referenced:
                yield key, f"{name}-{value}"
        elif key == "href":
            yield key, f"#{name}-{value[1:]}"
        elif key == "clip-path":
            yield key, value.replace("url(#", f"url(#{name}-")
        elif key == "style":
            yield key, _styled(value)
        elif key == "d":
            yield key, _rounded(value)
        else:
            yield key, value


def _styled(style: str) -> str:
    """Style with the page's colours and without a font family."""
    declarations = [part.strip() for part in style.split(";") if "font-family" not in part]
    return "; ".join(
        re.sub(r"#[0-9a-f]{6}", lambda m: _VARIABLES.get(m[0], m[0]), p) for p in declarations
    )


def _rounded(path: str) -> str:
    """Path data with two decimals: a hundredth of a pixel."""
    return re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.2f}", " ".join(path.split()))
