"""Encodings, validators and heads of answers, and errors."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate

import pytest
from conftest import Served
from kit import cases
from kit.bank import sheet
from kit.dates import FRIDAY, NOON
from multidict import CIMultiDict, CIMultiDictProxy

from ratesvc.bank.client import DEMO_HEADER
from ratesvc.domain.rates import Revision, Snapshot
from ratesvc.service.publication import Body, Publication
from ratesvc.service.telemetry import Route
from ratesvc.web.caching import RATES, Caching
from ratesvc.web.responses import Answer, FinishedAnswer, has_it, preferred

DUE = datetime(2026, 4, 24, 15, tzinfo=UTC)
SNAPSHOT = Snapshot(FRIDAY, Revision(sheet(FRIDAY), 1, NOON), None, None, DUE, False, 0, False, NOON, NOON, DUE)  # noqa: FBT003
BODY = Body(b"x" * 1000, "text/plain", (("X-Of-Body", "1"),))
PUBLICATION = Publication(SNAPSHOT, 1)
LAST_MODIFIED = "Fri, 24 Apr 2026 09:00:00 GMT"


# In which encoding


def test_the_encoding_with_the_highest_weight_is_sent() -> None:
    """golden/encodings.txt: of those that are offered, Brotli first among equals; never a refused or malformed one."""
    shown = {}
    for question in cases.questions("encodings.txt"):
        accepted, _, offered = question.rpartition(" of ")
        shown[question] = preferred(accepted.removeprefix('"').removesuffix('"'), tuple(offered.split(", ")))
    cases.check("encodings.txt", shown)


async def test_an_error_behind_the_handlers_is_a_problem_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp has a page of its own for it."""

    def broken(*_: object, **__: object) -> FinishedAnswer:
        raise ZeroDivisionError

    monkeypatch.setattr("ratesvc.web.responses.FinishedAnswer", broken)
    status, found, body = await served.get("/v1/rates?codes=USD")
    assert (status, found["Content-Type"]) == (500, "application/problem+json")
    assert json.loads(body)["type"] == "urn:ratesvc:internal"


# With which validators


def test_any_encoding_of_the_same_bytes_will_do() -> None:
    """golden/tags.txt: the comparison is weak, the position in the list means nothing, a tag has quotes."""
    tags = {one: BODY.etag(one) for one in ("br", "gzip", "identity")}
    asked = cases.questions("tags.txt")
    has = {line: has_it(line.format(**tags, bare=BODY.tag, nothing=""), BODY) for line in asked}
    cases.check("tags.txt", {line: "the same body" if is_it else "another" for line, is_it in has.items()})


def headers(**given: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict({name.replace("_", "-"): value for name, value in given.items()}))


def reply(
    caching: Caching | None = RATES, status: int = 200, publication: Publication | None = None, *, demo: bool = False
) -> FinishedAnswer:
    return FinishedAnswer(Answer(BODY, caching, status), publication, Route(), demo=demo)


def test_a_client_that_has_the_body_gets_304() -> None:
    """Only for a 200. golden/rates.txt has headers of two lines."""
    answer = reply()
    assert answer.choose(headers(), NOON) == (200, "identity")
    assert answer.choose(headers(accept_encoding="gzip"), NOON) == (200, "gzip")
    assert answer.choose(headers(if_none_match=BODY.etag("br")), NOON) == (304, "identity")
    assert answer.choose(headers(if_none_match='"other"', accept_encoding="br"), NOON) == (200, "br")
    assert answer.choose(headers(if_none_match=""), NOON) == (200, "identity")
    assert reply(None, 503).choose(headers(if_none_match="*"), NOON) == (503, "identity")


def test_the_exact_date_of_an_answer_gives_304() -> None:
    """Only without a tag, and for no other date: a later one comes from a clock, perhaps a wrong one."""
    answer, later = reply(publication=PUBLICATION), "Fri, 24 Apr 2026 09:00:01 GMT"
    for given, status in (
        ({}, 200),
        ({"if_modified_since": LAST_MODIFIED}, 304),
        ({"if_modified_since": later}, 200),
        ({"if_modified_since": "x"}, 200),
        ({"if_modified_since": LAST_MODIFIED, "if_none_match": '"other"'}, 200),
        ({"if_modified_since": later, "if_none_match": BODY.etag("br")}, 304),
    ):
        assert answer.choose(headers(**given), NOON)[0] == status, given
    assert reply().choose(headers(if_modified_since=""), NOON)[0] == 200
    down = reply(None, 503, PUBLICATION)
    assert down.choose(headers(if_modified_since=LAST_MODIFIED), NOON)[0] == 503


@pytest.mark.parametrize("given", [{"if_none_match": "*"}, {"if_modified_since": LAST_MODIFIED}], ids=str)
def test_in_the_last_second_before_a_change_nobody_gets_304(given: dict[str, str]) -> None:
    """nginx would take it for leave to keep the old answer for as long as it was first told."""
    answer = reply(publication=PUBLICATION)
    for left_s, status in ((3, 304), (1, 200), (0, 200)):
        assert answer.choose(headers(**given), DUE - timedelta(seconds=left_s))[0] == status


@pytest.fixture
def this_second(monkeypatch: pytest.MonkeyPatch) -> float:
    """Now, for the whole test: a second does not end between two of its lines."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    return now


@pytest.mark.parametrize(("age_s", "is_said"), [(-60, False), (0, False), (2, True)])
def test_a_head_says_when_the_answer_changed_once_that_second_is_over(
    this_second: float, age_s: int, *, is_said: bool
) -> None:
    """Within the second a cache may have been given another answer, and the future is no date of a change."""
    changed_at = datetime.fromtimestamp(this_second - age_s, UTC)
    answer = reply(publication=Publication(replace(SNAPSHOT, changed_at=changed_at), 1))
    assert lines(answer).get("Last-Modified") == (format_datetime(changed_at, usegmt=True) if is_said else None)
    assert "Last-Modified" not in lines(answer, status=304)


def lines(
    answer: FinishedAnswer, now: datetime = NOON, status: int = 200, encoding: str = "identity"
) -> dict[str, str]:
    answer.choose(headers(), now)
    first, *rest = answer.head(status, encoding).decode().removesuffix("\r\n").split("\r\n")
    return {"status": first, **dict(line.split(": ", 1) for line in rest)}


def test_a_head_says_what_caches_and_readers_need() -> None:
    """Media type, and length, tag and caching of the chosen encoding."""
    found = lines(reply(publication=PUBLICATION), encoding="gzip")
    assert found["status"] == "HTTP/1.1 200 OK"
    assert (found["Content-Type"], found["Content-Encoding"]) == ("text/plain", "gzip")
    assert found["Content-Length"] == str(len(BODY.encoded("gzip"))) != "1000"
    assert (found["ETag"], found["Vary"]) == (BODY.etag("gzip"), "Accept-Encoding")
    assert found["Cache-Control"] == RATES.header(NOON, DUE)
    assert (found["X-Of-Body"], found["Server"]) == ("1", "ratesvc")
    assert [found[f"Access-Control-{name}"] for name in ("Allow-Origin", "Expose-Headers")] == ["*", "*"]
    assert "Date" in found
    assert not {"Retry-After", DEMO_HEADER} & found.keys()


def test_a_head_has_only_what_belongs_to_its_answer() -> None:
    """The identity has no encoding, 304 neither length nor type, and a no-store answer no validator."""
    found = lines(reply())
    assert ("Content-Encoding" in found, found["Content-Length"]) == (False, "1000")
    had = lines(reply(), status=304, encoding="br")
    assert (had["status"], had["ETag"]) == ("HTTP/1.1 304 Not Modified", BODY.etag("br"))
    assert not {"Content-Encoding", "Content-Length", "Content-Type"} & had.keys()
    down = lines(reply(None, 503), status=503)
    assert (down["Cache-Control"], down["Retry-After"]) == ("no-store", "30")
    assert not {"ETag", "Vary"} & down.keys()
    assert "Retry-After" not in lines(reply(None))


@pytest.mark.parametrize("demo", [True, False])
def test_the_head_marks_the_demo(*, demo: bool) -> None:
    """A ratesvc with this mirror must refuse its rates."""
    assert (DEMO_HEADER in lines(reply(demo=demo))) == demo


def test_a_head_is_written_anew_when_the_second_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set back counts as another second. Date is the true time, also where the clock stands still."""
    answer = reply(publication=PUBLICATION)
    for seconds in (1776978000, 1776978001):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: seconds)
        assert lines(answer, NOON)["Date"] == formatdate(seconds, usegmt=True)
    first = lines(answer, DUE - timedelta(seconds=59))
    assert first["Cache-Control"].startswith("public, max-age=58,")
    for now, max_age in ((DUE - timedelta(seconds=30), 29), (DUE - timedelta(seconds=45), 44), (DUE, 0)):
        assert lines(answer, now)["Cache-Control"].startswith(f"public, max-age={max_age},")
    assert answer.head(200, "gzip") != answer.head(200, "identity") != answer.head(304, "identity")


# What errors say


async def test_an_unknown_error_is_a_500_that_tells_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has an id, under which the log has the traceback; the next request is answered."""

    def broken(*_: object, **__: object) -> bytes:
        raise ZeroDivisionError("a secret")

    with monkeypatch.context() as patch:
        patch.setattr("ratesvc.render.json.rates", broken)
        status, answered, body = await served.get("/v1/rates?codes=USD&quote_currency=EUR")
    document = json.loads(body)
    assert (status, document["type"], answered["Cache-Control"]) == (500, "urn:ratesvc:internal", "no-store")
    assert b"secret" not in body
    incident = document["detail"].removeprefix("Incident ").removesuffix(".")
    logged = capsys.readouterr().out
    assert (incident in logged, "a secret" in logged) == (True, True)
    assert (await served.get("/v1/rates?codes=USD&quote_currency=EUR"))[0] == 200


async def test_answers_are_remembered_unless_no_cache_may_keep_them(served: Served) -> None:
    """The first answer serves the second request, too."""
    path = "/v1/rates?codes=USD"
    publication = served.service.publication
    assert publication
    first = await served.get(path)
    kept = publication.answers[path]
    assert ((await served.get(path))[2], publication.answers[path]) == (first[2], kept)
    async with served.http.post(served.url + path) as answer:
        assert answer.status == 405
    assert (await served.get("/v1/rates?codes=U"))[0] == 400
    assert (await served.get("/health"))[0] == 200
    assert not {"/v1/rates?codes=U", "/health"} & publication.answers.keys()
