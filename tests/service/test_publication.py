from __future__ import annotations

import dataclasses
import gzip
import json
from datetime import UTC, date, datetime, timedelta
from random import Random

import brotli
import pytest
from conftest import Clock, Served, announced, eventually
from hypothesis import given
from hypothesis import strategies as st
from kit.bank import Bank, sheet
from kit.dates import MIDNIGHT, SATURDAY, THURSDAY

from ratesvc.config import Settings
from ratesvc.domain.history import History
from ratesvc.domain.in_force import snapshot
from ratesvc.domain.rates import Revision
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.service.app import Service
from ratesvc.service.publication import (
    BODY_BYTES,
    LONG,
    LONGEST_TARGET,
    MOST_BYTES,
    MOST_LONG_BYTES,
    MOST_TARGETS,
    SMALLEST_COMPRESSED,
    Body,
    Publication,
)

MOST = MOST_BYTES // BODY_BYTES
MOMENT = datetime(2026, 4, 24, 9, 0, 0, 300_000, tzinfo=UTC)
SNAPSHOT = snapshot(History(WorkCalendar(), [Revision(sheet(date(2026, 4, 24)), 1, MOMENT)]), MOMENT)


def body(content: bytes, content_type: str = "application/json") -> Body:
    return Body(content, content_type)


def never() -> Body:
    raise AssertionError("it was rendered again")


@pytest.fixture
def publication() -> Publication:
    return Publication(SNAPSHOT, 1)


@given(st.binary(max_size=SMALLEST_COMPRESSED) | st.binary(min_size=SMALLEST_COMPRESSED, max_size=3000))
def test_every_encoding_holds_the_same_bytes_on_every_replica(content: bytes) -> None:
    """Unpacking gives the rendered bytes. No time stamp, no chance: a reader may be sent from one to the other."""
    one, other = body(content), body(bytes(bytearray(content)))
    unpack = {"br": brotli.decompress, "gzip": gzip.decompress, "identity": bytes}
    assert all(unpack[name](packed) == content for name, packed in one.encodings.items())
    assert one.encodings == other.encodings
    assert one.encodings.get("gzip", bytes(8))[4:8] == b"\0\0\0\0"
    tags = [one.etag(name) for name in one.encodings]
    assert tags == [other.etag(name) for name in other.encodings]
    assert len(set(tags)) == len(one.encodings), "a strong tag is of the bytes that are sent"


def test_the_smallest_encoding_comes_first() -> None:
    """Brotli is smaller than gzip. A single rate as text is shorter than gzip's own header and trailer."""
    encodings = body(b'{"unit_rate":75.5273}' * 100).encodings
    assert list(encodings) == ["br", "gzip", "identity"]
    assert [len(packed) for packed in encodings.values()] == sorted(map(len, encodings.values()))
    assert len(body(b"x" * SMALLEST_COMPRESSED).encodings) == 3
    assert list(body(b"75.5273").encodings) == ["identity"]


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_other_bytes_or_another_type_have_another_tag(one: bytes, other: bytes) -> None:
    """The same bytes of the same type have the same tag, with any headers."""
    assert (body(one).tag == body(other).tag) is (one == other)
    assert body(one).tag != body(one, "text/plain").tag
    assert body(one).tag == dataclasses.replace(body(one), headers=(("X", "y"),)).tag


def test_a_variant_is_rendered_once(publication: Publication) -> None:
    """The second request of the same variant finds it finished. After a rendering that failed the next tries again."""
    first = publication.body(("rates", "en"), lambda: body(b"{}"))
    assert publication.body(("rates", "en"), never) is first
    with pytest.raises(AssertionError):
        publication.body(("rates", "ru"), never)
    assert publication.body(("rates", "ru"), lambda: body(b"1")).content == b"1"


@dataclasses.dataclass
class Sent:
    body: Body


def test_a_target_that_is_rendered_anew_each_time_is_forgotten_without_an_error(publication: Publication) -> None:
    """With the access log on, each answer to one address is another body, and all are remembered in turn."""
    for number in range(2 * MOST):
        publication.remember("/v1/convert", Sent(body(b"%d" % number)))
    for number in range(2 * MOST):
        publication.remember(f"/{number}", Sent(body(b"%d" % number)))
    assert len(publication.answers) <= MOST_TARGETS


def test_variants_are_bounded_and_the_oldest_goes_first(publication: Publication) -> None:
    """A hundred thousand different requests do not fill the memory. One body may be two variants."""
    shared = body(b"")
    for name in ("one", "another"):
        publication.body(name, lambda: shared)
    for number in range(2 * MOST):
        publication.body(number, lambda: body(b""))
    assert [publication.find(number) is None for number in (0, MOST - 1, MOST)] == [True, True, False]
    publication.body(2 * MOST - 1, never)


@pytest.mark.parametrize(("later_s", "dated_s"), [(-5, 1), (0, 1), (0.6, 1), (0.7, 1), (1, 1), (2, 2)])
def test_of_two_publications_in_one_second_the_later_is_dated_a_second_later(later_s: float, dated_s: int) -> None:
    """A date that both had would tell nobody which of the two a cache holds. A clock may be set back, too."""
    first = Publication(SNAPSHOT, 1)
    assert first.last_modified == SNAPSHOT.changed_at.replace(microsecond=0)
    changed_at = SNAPSHOT.changed_at + timedelta(seconds=later_s)
    second = Publication(dataclasses.replace(SNAPSHOT, changed_at=changed_at), 2, first)
    assert second.last_modified == first.last_modified + timedelta(seconds=dated_s)


def test_a_body_is_forgotten_with_its_remembered_answers(publication: Publication) -> None:
    """Otherwise a thousand addresses of long tables would keep a thousand of them, whatever the limit."""
    for number in range(3):
        long = publication.body(number, lambda: body(bytes(MOST_LONG_BYTES // 2)))
        publication.remember(f"/{number}", Sent(long))
        assert set(publication.answers) <= {f"/{kept}" for kept in range(3) if publication.find(kept)}


def test_all_of_history_stays_while_series_come_and_go(publication: Publication) -> None:
    """As the ECB's XML, of 6.6 MB, and its CSV: both are rendered once a publication."""
    files = [publication.keep(length, body(bytes(length))) for length in (6_600_000, 2_200_000)]
    for number in range(5):
        publication.keep(("series", number), body(bytes(200_000)))
    assert [publication.find(6_600_000), publication.find(2_200_000)] == files


def test_a_body_of_two_simultaneous_requests_is_kept_and_counted_once(publication: Publication) -> None:
    """Both render the same long table in worker threads. Both get the first one, and no other body is forgotten."""
    short = publication.keep("short", body(b"short"))
    first = publication.keep("long", body(bytes(MOST_LONG_BYTES // 2)))
    assert publication.keep("long", body(bytes(MOST_LONG_BYTES // 2))) is first
    assert publication.find("short") is short


def text(length: int, number: int = 0) -> Body:
    """A body of mere figures, which are the hardest to compress."""
    return body("".join(Random(number).choices("0123456789", k=length)).encode())  # noqa: S311 -- no secret


def held(publication: Publication, keys: range) -> list[Body]:
    return [found for key in keys if (found := publication.find(key))]


@pytest.mark.parametrize("length", [2_000, 20_000, LONG + 1])
def test_kept_bodies_stay_within_the_limit_with_every_encoding(
    length: int, publication: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of Brotli and gzip count too, whenever they were made."""
    limit = 20 * length
    for name in ("MOST_BYTES", "MOST_LONG_BYTES"):
        monkeypatch.setattr(f"ratesvc.service.publication.{name}", limit)
    for key in range(30):
        one = publication.keep(key, text(length, key % 10))
        if one.is_long or key % 2:
            one.encodings  # noqa: B018 -- as the first who asks for one makes them
        publication.remember(f"/{key}", Sent(one))
    kept = held(publication, range(30))
    assert len(kept) > 3
    assert sum(len(packed) for one in kept for packed in one.encodings.values()) <= limit


def test_long_bodies_drive_out_no_small_ones(publication: Publication) -> None:
    """Ten long tables, and the widgets of a thousand pages are still finished."""
    small = [publication.keep(number, text(1000, number)) for number in range(100)]
    for number in range(100, 110):
        publication.keep(number, body(bytes(MOST_LONG_BYTES // 3)))
    assert held(publication, range(100)) == small
    assert len(held(publication, range(100, 110))) < 10


def test_targets_of_one_body_are_bounded_too(publication: Publication) -> None:
    """An ignored number in an address fills no memory, and the body stays."""
    one = text(1000)
    publication.keep("one", one)
    for number in range(MOST_TARGETS + 500):
        publication.remember(f"/?{number}", Sent(one))
    publication.remember(f"/?{'x' * LONGEST_TARGET}", Sent(one))
    assert [*publication.answers] == [f"/?{number}" for number in range(500, MOST_TARGETS + 500)], "the oldest go"
    assert publication.find("one") is one


@pytest.fixture
async def served(served: Served) -> Served:
    """It knows that Thursday's sheet is the one before Friday's."""
    await eventually(lambda: served.service.publication and served.service.publication.snapshot.previous)
    return served


async def test_a_publication_is_replaced_only_by_news(served: Served, clock: Clock) -> None:
    """One more sheet, another hour and another day make a new publication; the same knowledge does not."""
    service = served.service
    first = service.publication
    service.publish()
    assert service.publication is first
    service.history.hold([Revision(sheet(SATURDAY), 1, clock())])
    service.publish()
    with_saturday = service.publication
    assert with_saturday is not first
    assert with_saturday
    assert with_saturday.snapshot.announced
    clock.moment = MIDNIGHT
    service.publish()
    assert service.publication is not with_saturday


@pytest.mark.parametrize("first", ["/v1/rates", "/v1/rates/2026-04-24"])
async def test_a_sheet_is_overdue_from_that_second_on_whatever_was_asked_first(
    first: str, served: Served, clock: Clock
) -> None:
    """At 21:00:00, before the schedule has run. A day is answered by the clock, and today by the publication."""
    clock.moment = datetime(2026, 4, 24, 18, tzinfo=UTC) - timedelta(seconds=1)
    paths = [first, "/v1/rates", "/v1/rates/2026-04-24", "/v1/rates/today", "/v1/rates/2026-04-24?codes=USD"]
    for overdue in (False, True):
        said = [json.loads((await served.get(path))[2])["next_overdue"] for path in paths]
        assert said == [overdue] * len(paths)
        clock.advance(seconds=1)


async def test_a_clock_that_is_set_back_over_midnight_leaves_no_yesterday_behind(served: Served, clock: Clock) -> None:
    """An answer that was made in that second called Friday today, and would be kept with those of Saturday."""
    clock.moment = MIDNIGHT
    await served.get("/v1/rates")
    for seconds, today in ((-1, "2026-04-24"), (0, "2026-04-25")):
        clock.moment = MIDNIGHT + timedelta(seconds=seconds)
        assert json.loads((await served.get("/v1/rates?codes=USD"))[2])["date"] == today


async def test_a_revision_never_changes(bank: Bank, served: Served, clock: Clock) -> None:
    """Not even when the sheet before it is corrected afterwards. It is not immutable: a lost store counts anew."""
    await announced(bank, served, clock, SATURDAY)
    clock.moment = datetime(2026, 4, 25, 6, 0, tzinfo=UTC)
    served.service.publish()
    path = "/v1/rates/2026-04-24?revision=1"
    _, headers, said = await served.get(path)
    assert "immutable" not in headers["Cache-Control"]
    assert json.loads(said)["rates"]["USD"]["change"] is not None
    clock.advance(hours=1)
    served.service.history.hold([Revision(sheet(THURSDAY, shift=7), 2, clock())])
    served.service.publish()
    assert (await served.get(path))[2] == said
    latest = json.loads((await served.get("/v1/rates/2026-04-24"))[2])
    assert latest["rates"]["USD"]["change"] != json.loads(said)["rates"]["USD"]["change"]


async def test_everybody_who_listens_is_told(bank: Bank, settings: Settings, clock: Clock) -> None:
    """Of each publication, and before the stop."""
    bank.publish(sheet(THURSDAY))
    told: list[str] = []
    async with Service(settings, clock=clock, scheduled=False) as service:
        for name in ("one", "other"):
            service.on_publication.append(lambda _, name=name: told.append(name))  # type: ignore[misc]
            service.on_drain.append(lambda name=name: told.append(f"{name} at the stop"))  # type: ignore[misc]
        await service.refresher.ask_without_lease()
        service.drain()
    assert told == ["one", "other", "one at the stop", "other at the stop"]
