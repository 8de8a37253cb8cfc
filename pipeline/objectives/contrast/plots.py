"""The figures of a shared space: a map of it, and recall by direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.reports.svg import MUTED, SERIES, WIDTH, Plot, add_axes, draw, legend_above, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_POINTS = 400  # samples of a map
MAX_LINES = 60  # samples whose modalities are joined by a line
PERPLEXITY = 30.0  # of t-SNE: about how many neighbours of a point count
MARKS = "os^DvP"

Float = NDArray[np.float64]


def principal_components(values: Float, count: int = 2) -> tuple[Float, Float]:
    """Where (N, D) values lie along the directions in which they differ most.

    Args:
        values: (N, D) float, N > 0.
        count: Directions.

    Returns:
        (N, count) float64, and (count,), the share of the variance along each.

    Source:
        Pearson 1901, "On lines and planes of closest fit to systems of points in space"; by singular values.
    """
    centred = values - values.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    variances = lengths**2
    # A direction's sign is arbitrary: its largest entry is made positive, so that a page is the same every time.
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
    along = centred @ (directions * signs[:, None])[:count].T
    shares = variances[:count] / max(float(variances.sum()), 1e-12)
    missing = count - along.shape[1]
    return np.pad(along, ((0, 0), (0, missing))), np.pad(shares, (0, missing))


@dataclass(frozen=True)
class Layout:
    """Points on a map.

    Attributes:
        points: (N, 2) float64.
        method: How they were found, for the title.
        axes: What the two axes are, for their labels; empty words where they mean nothing.
        about: The method in words, for those who hear the page.
    """

    points: Float
    method: str
    axes: tuple[str, str]
    about: str


def layout(values: Float) -> Layout:
    """Where (N, D) embeddings lie on a map: by t-SNE where openTSNE is installed, else by principal components.

    Source:
        Van der Maaten & Hinton 2008, "Visualizing data using t-SNE"; Policar, Strazar, Zupan 2024, "openTSNE: a modular
        Python library for t-SNE dimensionality reduction and embedding".
    """
    perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
    if perplexity >= 1 and find_spec("openTSNE") is not None:
        from openTSNE import TSNE

        # The exact neighbours: of so few points they are quickly found, and the same every time.
        tsne = TSNE(
            perplexity=perplexity, metric="cosine", neighbors="exact", random_state=0, n_jobs=1
        )
        points = np.asarray(tsne.fit(values), dtype=np.float64)
        return Layout(points, "t-SNE", ("", ""), "t-SNE, which keeps neighbours together")
    points, shares = principal_components(values)
    first, second = (f"{100 * share:.0f} %" for share in shares)
    axes = f"first direction, {first} of the variance", f"second, {second}"
    total = f"principal components, which hold {100 * shares.sum():.0f} % of the variance"
    return Layout(points, "PCA", axes, total)


def space_map(embeddings: Mapping[str, tuple[Float, NDArray[np.bool_]]]) -> Plot | None:
    """All modalities' embeddings on one map, see :func:`layout`; lines join a sample's own.

    Args:
        embeddings: Modality -> (N, D) float, and (N,) bool, False where a sample lacks it.
    """
    rows = _spread(len(next(iter(embeddings.values()))[1]), MAX_POINTS)
    stacked = np.concatenate([values[rows][has[rows]] for values, has in embeddings.values()])
    if len(stacked) < 2:
        return None
    found = layout(stacked)
    places, first = {}, 0
    for name, (_, has) in embeddings.items():
        place = np.full((len(rows), 2), np.nan)
        count = int(has[rows].sum())
        place[has[rows]] = found.points[first : first + count]
        places[name], first = place, first + count

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, 46, 52, 12, 42)
        joined = np.stack(list(places.values()), axis=1)
        for points in joined[_spread(len(rows), MAX_LINES)]:
            shown = points[~np.isnan(points[:, 0])]
            axes.plot(shown[:, 0], shown[:, 1], color=MUTED, linewidth=0.6, alpha=0.4, zorder=1)
        for number, (name, place) in enumerate(places.items()):
            axes.plot(
                place[:, 0],
                place[:, 1],
                MARKS[number % len(MARKS)],
                color=SERIES[number % len(SERIES)],
                markersize=4,
                markeredgewidth=0,
                alpha=0.7,
                label=shortened(name, 14),
            )
        axes.set_xlabel(found.axes[0])
        axes.set_ylabel(found.axes[1])
        legend_above(axes, 3)

    spoken = f"A map of {len(rows)} samples by {found.about}. Middles: " + "; ".join(
        f"{name} at {np.nanmean(place[:, 0]):.2f}, {np.nanmean(place[:, 1]):.2f}"
        for name, place in places.items()
        if not np.isnan(place).all()
    )
    return draw(
        "space-map", f"Map of the space ({found.method})", f"{spoken}.", (WIDTH, 370), paint
    )


def _spread(total: int, count: int) -> Sequence[int]:
    """At most ``count`` of the places 0 to ``total`` - 1, evenly."""
    places = np.unique(np.linspace(0, total - 1, min(total, count)).round().astype(int))
    return [int(place) for place in places]
