"""The report page: plain data in, one self-contained HTML document out."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.models.record import kept_epoch
from pipeline.reports import views
from pipeline.reports.cleaning import cleaning_view
from pipeline.reports.content import Example, ReportData
from pipeline.reports.forest import slice_views
from pipeline.reports.media import MIMES, data_uri
from pipeline.reports.robustness import robustness_view
from pipeline.reports.section import Measure
from pipeline.reports.svg import Plot, shortened

__all__ = ["Example", "ReportData", "render", "render_gallery"]

_FOLDER = Path(__file__).parent
_NARROW_SPACE = "\u202f"


def render(data: ReportData) -> str:
    """Renders the page.

    Everything that came from data or configuration is escaped; the page needs no network and no
    script, and its content security policy allows neither.

    Args:
        data: What to show. Sections without data say which command makes it.

    Returns:
        An HTML document that encodes to UTF-8.
    """
    splits = views.split_table(data)
    return render_template(
        "report.html",
        data=data,
        figures=views.key_figures(data),
        lede=views.lede(data),
        modality=views.modality_view(data),
        robustness=robustness_view(data),
        slices=slice_views(data),
        splits=splits,
        balance=splits.targets.plot,
        quarantine=views.quarantine_view(data),
        cleaning=cleaning_view(data),
        samples=[views.card(example) for example in data.examples if example.prediction is None],
        curves=views.training(data),
        kept=kept_epoch(data.kept),
        history=views.history_table(data.history),
        augmented=[views.augmented(sample) for sample in data.augmented],
        metrics=views.metrics_view(data),
        predictions=views.predictions(data),
        configured=bool(data.config_yaml or data.environment or data.summary),
        summary={k: v for k, v in data.summary.items() if k != "seconds"},
    )


def render_gallery(title: str, runs: Mapping[str, ReportData]) -> str:
    """Renders one page of several runs: of each what its objective tells, and a link to its report.

    Args:
        title: Of the page.
        runs: Address of a run's report, from the page on -> what that shows.

    Returns:
        As of :func:`render`.
    """
    shown = []
    for number, (page, data) in enumerate(runs.items(), 1):
        run = {
            "title": data.title,
            "page": page,
            "lede": views.lede(data),
            "figures": views.key_figures(data),
            "metrics": views.metrics_view(data),
        }
        content = _environment().get_template("gallery_run.html").render(run=run)
        anchor = f"run-{number}"
        shown.append(
            {"title": data.title, "anchor": anchor, "content": _named_apart(content, anchor)}
        )
    generated = max((data.generated for data in runs.values()), default="")
    return render_template("gallery.html", title=title, generated=generated, runs=shown)


def _named_apart(content: str, name: str) -> Markup:
    """HTML whose identities, equal plots' among them, are no other run's: ``run`` is ``name``, all others follow it."""
    names = {
        identity: name if identity == "run" else f"{name}-{identity}"
        for identity in re.findall(r' id="([^"]+)"', content)
    }
    pattern = r'( id="| aria-labelledby="|href="#|url\(#)([^")]+)'
    return Markup(re.sub(pattern, lambda match: match[1] + names.get(match[2], match[2]), content))


def render_template(name: str, **values: object) -> str:
    """Renders one of the pages of this folder, with its style; everything in ``values`` is escaped."""
    style = Markup((_FOLDER / "report.css").read_text(encoding="utf-8"))
    page = _environment().get_template(name).render(style=style, **values)
    # A key with bytes that are no text must not make the page unwritable.
    return page.encode("utf-8", "replace").decode("utf-8")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        # Objectives have templates of their own, which are named by their path below the package; those of a person's
        # own classes by their full path.
        loader=FileSystemLoader([_FOLDER, _FOLDER.parent, _FOLDER.anchor]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        interval=interval,
        number=number,
        points=points,
        short=shortened,
        svg=_svg,
        png=partial(data_uri, MIMES["picture"]),
        measured=measured,
        measured_interval=measured_interval,
        measured_difference=measured_difference,
    )
    return environment


def percent(value: float | None, digits: int = 1) -> str:
    """``0.9421`` -> ``94.2 %``; a dash for None."""
    return "–" if value is None else f"{100 * value:.{digits}f}{_NARROW_SPACE}%"


def interval(ends: tuple[float, float] | list[float] | None) -> str:
    """``[0.92, 0.96]`` -> ``92.0–96.0 %``; a dash for None."""
    if ends is None or ends[0] is None:
        return "–"
    return f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}{_NARROW_SPACE}%"


def points(value: float | None) -> str:
    """A difference in percentage points with its sign; a dash for None."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def number(value: object, digits: int = 3) -> str:
    """Counts with thin spaces between thousands, floats with some digits, anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", _NARROW_SPACE)
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", _NARROW_SPACE)
    return f"{value:.{digits}f}" if abs(value) >= 0.1 or value == 0 else f"{value:.{digits}g}"


def measured(value: float | None, measure: Measure) -> str:
    """A value of a metric: in percent where it is a share."""
    return percent(value) if measure.percent else number(value)


def measured_interval(
    ends: tuple[float | None, float | None] | Sequence[float] | None, measure: Measure
) -> str:
    """An interval of a metric; a dash where it is not known."""
    if ends is None or ends[0] is None or ends[1] is None:
        return "–"
    return (
        interval((ends[0], ends[1])) if measure.percent else f"{number(ends[0])}–{number(ends[1])}"
    )


def measured_difference(value: float | None, measure: Measure) -> str:
    """A difference of a metric, with its sign: in points where it is a share."""
    if measure.percent:
        return points(value)
    return "–" if value is None else f"{value:+.3g}".replace("-", "−")


def _svg(plot: Plot | Mapping[str, object]) -> Markup:
    assert isinstance(plot, Plot)
    return Markup(plot.svg)  # its text was escaped when it was drawn
