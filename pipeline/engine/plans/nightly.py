"""One night: batch inference over what is new or changed, tried again where it fails, ended where it hangs."""

from __future__ import annotations

import datetime
import logging
import time
from collections import Counter
from dataclasses import replace
from functools import reduce

from pipeline.config import Config
from pipeline.engine.decoding.decoded_folder import split_input
from pipeline.engine.executors.batch import BatchJob, check_bad_fraction
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.plans.checks import Needs, check
from pipeline.engine.plans.infer import inference_job
from pipeline.errors import BadDataError, ConfigError, PipelineError
from pipeline.logs import event
from pipeline.metrics.columns import Sums
from pipeline.metrics.statistics import add_sums
from pipeline.nightly.drift import drift
from pipeline.nightly.hook import run_hook
from pipeline.nightly.ledger import DONE, FAILED, STOPPED, UNFINISHED, Attempt, Ledger, Night
from pipeline.nightly.watchdog import Watchdog
from pipeline.runs import Summary, Total, process_clock
from pipeline.shards.planning.listings import listings_remembered
from pipeline.shards.planning.plan import expand
from pipeline.sinks.ledger import PartResult

ALERTED = 4  # exit code
QUIET_SECONDS = 60.0  # without a sign of life in this process, after which workers are listened to
COUNTED = ("read", "written", "quarantined", "filtered", "noted")

logger = logging.getLogger(__name__)


def run_night(
    config: Config, date: str, summary: Summary, ends: datetime.datetime | None = None
) -> None:
    """Runs a night, and writes its page whatever comes of it.

    Args:
        config: Of the night, see :func:`for_date`.
        date: Its logical date.
        summary: Takes the counts, the drift, and exit code 4 where a threshold was crossed.
        ends: When it stops after the commit at hand; None does not stop.

    Raises:
        PipelineError: The last attempt failed, or what went wrong is not worth another.
    """
    if not config.sink.keeps_rows:
        raise ConfigError(
            "a night that keeps nothing cannot be continued",
            where="sink.kind",
            fix="set sink.kind to parquet",
        )
    _Night(config, date, summary, ends).run()


class _Night:
    """A night under way."""

    def __init__(
        self, config: Config, date: str, summary: Summary, ends: datetime.datetime | None
    ) -> None:
        self._config, self._summary, self._ends = config, summary, ends
        self._settings = config.nightly
        self._ledger = Ledger(config.run)
        self._partition = f"date={date}" if self._settings.date_partitions else ""
        self._began = time.monotonic()
        self._new = Night(date, began=_now())
        # What an earlier run of this date did is still of this date.
        self._take_over(self._ledger.read(date) or self._new)
        self._watchdog = Watchdog(self._settings.stall_minutes * 60, self._give_up)

    def _take_over(self, earlier: Night) -> None:
        """Begins with what a page says; what this process does comes on top of it."""
        self._page = replace(self._new, fingerprint=earlier.fingerprint, began=earlier.began)
        self._page.attempts = list(earlier.attempts)
        self._seconds = earlier.seconds
        self._done = Summary("nightly", parts_done=earlier.parts.get("done", 0))
        read, written, bad, filtered, noted = (
            earlier.samples.get(name, 0)
            for name in ("read", "written", "quarantined", "filtered", "noted")
        )
        self._done.count(Total(read, written, bad, filtered, noted, reasons=earlier.reasons))
        self._profile: Sums = earlier.profile
        self._counted = set(earlier.counted)  # parts in a profile that readers may not see yet

    def run(self) -> None:
        try:
            with self._watchdog:
                self._try_until_done()
            self._look_back()
            check_bad_fraction(self._config, self._summary, self._config.run)
        except PipelineError as error:
            # What is good is written by the time that too much is found to be bad.
            status = self._page.status if isinstance(error, BadDataError) else FAILED
            self._close(status, error.exit_code, str(error))
            raise
        except KeyboardInterrupt:
            self._close(FAILED, 130, "interrupted", failed=False)
            raise
        except BaseException as error:
            self._close(FAILED, 1, f"{type(error).__name__}: {error}")
            raise
        code = ALERTED if self._page.alerts else 0
        self._summary.exit_code = code
        self._close(self._page.status, code, "", failed=False)

    def _try_until_done(self) -> None:
        pause = self._settings.retry_seconds
        for attempt in range(self._settings.retries + 1):
            self._begin_attempt()
            try:
                self._attempt()
                return
            except PipelineError as error:
                if error.exit_code != 1 or attempt == self._settings.retries:
                    raise
                self._end_attempt(FAILED, error.exit_code, str(error))
                event(logger, "night_failed", attempt=attempt + 1, error=str(error), pause=pause)
            self._watchdog.feed(pause)
            time.sleep(pause)
            pause *= 2

    def _begin_attempt(self) -> None:
        self._before = self._counts()
        self._page.attempts.append(Attempt(_now()))
        self._note()

    def _end_attempt(self, status: str, code: int, error: str) -> None:
        """Closes the attempt that is under way; between two there is none."""
        attempt = self._page.attempts[-1]
        if not attempt.ended:
            self._tally()
            attempt.ended, attempt.status, attempt.exit_code = _now(), status, code
            attempt.error = error

    def _attempt(self) -> None:
        with listings_remembered():
            self._look_for_mistakes()
            self._work()

    def _look_for_mistakes(self) -> None:
        """Finds out that there are no shards, or no model, before Ray is started for them."""
        setting = "infer.input"
        _, shards = split_input(self._config.patterns(self._config.infer.input, setting))
        if shards:
            expand(shards, where=setting)
        check(self._config, Needs(model=True))

    def _work(self) -> None:
        config = self._config
        quiet_seconds = min(self._settings.stall_minutes * 60 / 8, QUIET_SECONDS)
        with Workplace(config.cluster, quiet_seconds) as workplace:
            job = inference_job(config, workplace, self._partition)
            job.follows = True
            self._begin_page(job.fingerprint)
            job.watch, job.publishing = self._committed, self._note
            job.begin()
            self._take_up(job)
            if job.inventory is not None and not self._page.shards:
                self._page.shards = job.inventory.counts()
            if self._summary.first_sample is None:
                self._summary.first_sample = process_clock()
            job.run(self._summary)
            self._counted = set(job.unpublished)
            num_left = sum(part.id not in job.done for part in job.parts)
            self._page.parts = self._page.parts | {"left": num_left}
            self._page.status = STOPPED if num_left else DONE

    def _begin_page(self, fingerprint: str) -> None:
        """Says which model it is; what the page has of another one is forgotten."""
        if self._page.fingerprint not in ("", fingerprint):
            self._take_over(replace(self._new, attempts=self._page.attempts))
            self._before = self._counts()
        self._page.fingerprint = fingerprint
        for night in self._ledger.last(self._settings.history):
            if night.fingerprint == fingerprint:
                self._counted |= set(night.counted)
        self._note()

    def _take_up(self, job: BatchJob) -> None:
        """Counts what was committed by one that was killed, and that no page has counted."""
        fresh = sorted(job.unpublished - self._counted)
        for result in job.sink.recorded_results(fresh):
            self._profile = add_sums(self._profile, result.statistics or {})
            self._done.count(result)
            self._done.parts_done += 1
        self._counted = set(job.unpublished)
        self._note()

    def _note(self) -> None:
        """Writes what is counted so far: should the process be killed, the page says so.

        It comes before readers see new rows. What they see is thus on a page; and of what they do not, the page names
        the parts that it has counted.
        """
        self._page.error = UNFINISHED
        self._tally()
        self._ledger.write(self._page)

    def _tally(self) -> None:
        """Brings the page's counts up to date."""
        page, earlier, now = self._page, self._done, self._summary
        page.seconds = round(self._seconds + time.monotonic() - self._began, 1)
        counts = self._counts()
        page.samples = {name: counts[name] for name in COUNTED}
        page.parts = page.parts | {"done": counts["done"]}
        page.reasons = dict(Counter(earlier.reasons) + Counter(now.reasons))
        page.profile, page.counted = dict(self._profile), sorted(self._counted)
        if page.attempts and not page.attempts[-1].ended:
            of_this = {name: count - self._before[name] for name, count in counts.items()}
            page.attempts[-1].parts = {"done": of_this.pop("done")}
            page.attempts[-1].samples = of_this

    def _counts(self) -> dict[str, int]:
        """What is done of this date, by this process and earlier ones."""
        both = (self._done, self._summary)
        counts = {
            name: sum(getattr(summary, f"samples_{name}") for summary in both) for name in COUNTED
        }
        return counts | {"done": sum(summary.parts_done for summary in both)}

    def _committed(self, result: PartResult) -> bool:
        """Takes note of a commit; says whether there is time for another."""
        self._watchdog.feed()
        self._profile = add_sums(self._profile, result.statistics or {})
        self._counted.add(result.part)
        return self._ends is None or datetime.datetime.now(datetime.UTC) < self._ends

    def _look_back(self) -> None:
        """Compares the rows of this night with those of the nights before."""
        page, alerts = self._page, self._settings.alerts
        self._tally()
        nights = [
            night
            for night in self._ledger.before(page.date, self._settings.history)
            if night.fingerprint == page.fingerprint and night.profile
        ]
        before = reduce(add_sums, (night.profile for night in nights), Sums())
        page.drift = drift(before, self._profile)
        self._summary.metrics |= page.drift
        limits = {
            "prediction_psi": alerts.max_prediction_psi,
            "modality_psi": alerts.max_modality_psi,
            "embedding_shift": alerts.max_embedding_shift,
            "bad_fraction": alerts.max_bad_fraction,
        }
        measured = {**page.drift, "bad_fraction": self._summary.bad_fraction}
        page.alerts = [
            f"{name} is {measured[name]:.4f}, over {limit:g}"
            for name, limit in limits.items()
            if limit is not None and measured.get(name, 0) > limit
        ]
        read = page.samples["read"]
        if alerts.min_samples is not None and read < alerts.min_samples:
            page.alerts.append(f"{read} samples were read, fewer than {alerts.min_samples}")

    def _give_up(self, seconds: float) -> None:
        """What is said before the process ends: nothing has moved for too long."""
        self._close(FAILED, 1, f"nothing moved for {seconds / 60:g} minutes")

    def _close(self, status: str, code: int, error: str, *, failed: bool = True) -> None:
        page = self._page
        page.status, page.exit_code, page.error = status, code, error
        self._tally()
        self._end_attempt(status, code, error)
        location = self._ledger.write(page)
        self._summary.outputs["night"] = location
        if failed and self._settings.on_failure:
            run_hook(self._settings.on_failure, location)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
