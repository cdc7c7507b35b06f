"""What ready and healthy mean: the answer of /readyz, and the checks of /health. Made from facts, pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from ratesvc.bank.client import Mirror
from ratesvc.domain.columns import Days
from ratesvc.domain.rates import Revision, Snapshot
from ratesvc.errors import StoreUnavailable
from ratesvc.service.cycle import Cycle, Progress
from ratesvc.service.schedule import Job

Check = dict[str, Any]

LONGEST_SILENCE_S = 10.0
MOST_NAMED = 20
MOST_SKEW_S, WRONG_SKEW_S = 30.0, 60.0
CALENDAR_NOTICE = timedelta(days=31)


def not_ready_because(*, draining: bool, has_sheet: bool) -> str | None:
    """Why this replica cannot answer, from its own memory alone; None if it can."""
    return "draining" if draining else None if has_sheet else "no_sheet"


def sheet(snapshot: Snapshot | None, newest: Revision | None, taken_back: Collection[date] = ()) -> Check:
    """Whether the sheet in force and the newest one are there in time, counted in publications that were missed.

    `taken_back` are the days of held sheets that the Bank no longer has.
    """
    if snapshot is None:
        return {"status": "fail", "output": "no sheet yet"}
    # Frozen figures are legal, but more often somebody at the Bank forgot to change them.
    is_frozen = newest is not None and "frozen" in newest.flags
    output = ["every rate is the same as in the sheet before"] if is_frozen else []
    if snapshot.stale:
        output.append("the sheet that should be in force is missing")
    elif snapshot.next_late:
        output.append("the next sheet is late")
    output += [f"the Bank no longer has the sheet of {day}: ratesvc withdraw {day}" for day in taken_back]
    return {
        "status": "fail" if snapshot.stale else "warn" if output else "pass",
        "observedValue": str(newest.effective_date) if newest else None,
        "expectedAt": snapshot.next_due_at.isoformat(),
        "publicationsMissed": snapshot.publications_missed,
        **({"output": "; ".join(output)} if output else {}),
    }


def fetch(cycle: Cycle | None, failures: int, failed: Cycle | None = None) -> Check:
    """The outcome of the last request to the Bank; `failures` counts those since it last answered.

    A replica that waits for the poll of another one repeats its own last `failed` cycle until that poll succeeds.
    """
    if cycle and cycle.outcome == "skipped" and failures:
        cycle = failed
    if cycle is None:
        return {"status": "pass", "observedValue": "not yet asked"}
    if not cycle.has_failed:
        # A sheet that is held back changes no answer, but a person may want to look before it is overdue.
        if cycle.held_back:
            why = "; ".join(f"{sheet.effective_date} {sheet.decision}: {sheet}" for sheet in cycle.held_back.values())
            return {"status": "warn", "observedValue": cycle.outcome, "output": why}
        outcome = "another replica polls" if cycle.outcome == "skipped" else cycle.outcome
        return {"status": "pass", "observedValue": outcome}
    output = str(cycle.failure) if cycle.failure else "see the log"
    return {"status": "warn", "observedValue": cycle.outcome, "failuresInARow": failures, "output": output}


def mirrors(mirrors: Sequence[Mirror]) -> Check:
    """How many mirrors are well, and what each said last. A poll asks only those that it needs."""
    latest, said = max(str(mirror.asked_at or "") for mirror in mirrors), dict[str, str]()
    for mirror in mirrors:
        answered = f"answered at {mirror.answered_at.isoformat()}" if mirror.answered_at else "has not answered yet"
        idle = "" if str(mirror.asked_at) == latest else "not asked since"
        facts = ", ".join(filter(None, (mirror.trouble, answered, idle)))
        said[mirror.host] = facts if mirror.asked_at else "not asked yet"
    well = sum(not mirror.trouble for mirror in mirrors)
    return {"status": "pass" if well == len(mirrors) else "warn", "observedValue": well, "mirrors": said}


def redis(engine: str, trouble: StoreUnavailable | None) -> Check:
    """Whether Redis answers and can be written; without it memory goes on serving."""
    if trouble:
        # The text of an error of the connection has the address of Redis, which is not for the public. The log has it.
        output = f"Redis: {trouble.kind}" if trouble.kind in ("connection", "timeout") else str(trouble)
        return {"status": "warn", "output": output, "observedValue": engine}
    return {"status": "pass", "observedValue": engine}


def scheduler(silent_s: float, last_run: datetime | None, jobs: Iterable[Job] = ()) -> Check:
    """Whether the schedule runs, and what runs next; `silent_s` are the seconds since the heartbeat."""
    due = sorted((job.due.isoformat(timespec="seconds"), job.name) for job in jobs if job.due and not job.task)
    check: Check = {"status": "pass", "observedValue": last_run.isoformat() if last_run else None}
    if due:
        check["next"] = {name: moment for moment, name in due}
    if silent_s > LONGEST_SILENCE_S:
        check |= {"status": "fail", "output": f"no heartbeat for {silent_s:.0f} s"}
    return check


def history(settled: Days | None, missing: Sequence[date], progress: Progress | None) -> Check:
    """Which days are settled, which later ones are missing, and what is being fetched."""
    check: Check = {"status": "pass", "observedValue": f"{settled.since}/{settled.until}" if settled else "none yet"}
    if missing:
        days = list(map(str, missing[:MOST_NAMED]))
        check |= {"status": "warn", "unconfirmed": days, "output": f"days without a confirmed sheet: {len(missing)}"}
    if progress:
        check |= {"status": "pass", "output": f"step {progress.done} of {progress.total}: {progress.asking}"}
    return check


def quarantine(count: int) -> Check:
    """How many documents wait for a person."""
    output = {"output": "documents wait for a person: ratesvc quarantine list"} if count else {}
    return {"status": "warn" if count else "pass", "observedValue": count, **output}


def clock(skew_s: float | None, *, is_wrong: bool = False) -> Check:
    """How far our clock is ahead of the Bank's, by the Date header of its last answer; two say that it `is_wrong`."""
    check: Check = {"status": "pass", "observedValue": None if skew_s is None else round(skew_s), "observedUnit": "s"}
    if skew_s is not None and abs(skew_s) > MOST_SKEW_S:
        way = "ahead of" if skew_s > 0 else "behind"
        check |= {"status": "fail" if is_wrong else "warn"}
        check |= {"output": f"the clock of this machine is {abs(skew_s):.0f} s {way} the Bank's"}
    return check


def calendar(known_until: date, today: date) -> Check:
    """Whether the coming transfers of days off are known. A newer `holidays` knows the next year."""
    if known_until - today < CALENDAR_NOTICE:
        output = "days off of the coming year are unknown: update ratesvc, or set calendar.extra_off and extra_work"
        return {"status": "warn", "observedValue": str(known_until), "output": output}
    return {"status": "pass", "observedValue": str(known_until)}
