from __future__ import annotations

import dataclasses
import gzip
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.publication import MOST_LONG_BYTES, MOST_VARIANTS, SMALLEST_COMPRESSED, Board, Body, Publication
from ratesvc.rates import Quote, Revision, Sheet, Snapshot

DAY = date(2026, 4, 25)
REVISION = Revision(
    Sheet(DAY, (Quote("USD", "840", "R01235", 1, Decimal("75.5273"), "USD"),)), 1, datetime(2026, 4, 24, tzinfo=UTC)
)
SNAPSHOT = Snapshot(
    today=DAY,
    in_force=REVISION,
    previous=None,
    announced=None,
    next_expected_at=datetime(2026, 4, 27, 15, tzinfo=UTC),
    next_late=False,
    publications_missed=0,
    stale=False,
)


def body(content: bytes, content_type: str = "application/json") -> Body:
    return Body(content, content_type)


def never() -> Body:
    raise AssertionError("it was rendered again")


@given(st.binary(max_size=3000))
def test_every_encoding_holds_the_same_bytes(content: bytes) -> None:
    """What a reader unpacks is what was rendered."""
    encodings = body(content).encodings
    unpack = {"br": brotli.decompress, "gzip": gzip.decompress, "identity": bytes}
    assert all(unpack[name](packed) == content for name, packed in encodings.items())
    assert "identity" in encodings


@given(st.binary(min_size=SMALLEST_COMPRESSED, max_size=3000))
def test_two_replicas_pack_the_same_bytes_and_give_the_same_tags(content: bytes) -> None:
    """No time stamp, no chance: a reader may be sent from one to the other."""
    one, other = body(content), body(bytes(bytearray(content)))
    assert one.encodings == other.encodings
    assert one.encodings["gzip"][4:8] == b"\0\0\0\0"
    assert [one.etag(name) for name in one.encodings] == [other.etag(name) for name in other.encodings]


def test_the_preferred_encoding_comes_first() -> None:
    """Brotli is smaller than gzip, and both are smaller than the text of a sheet."""
    encodings = body(b'{"unit_rate":75.5273}' * 100).encodings
    assert list(encodings) == ["br", "gzip", "identity"]
    assert [len(packed) for packed in encodings.values()] == sorted(map(len, encodings.values()))


def test_what_is_too_short_to_gain_is_not_packed() -> None:
    """A single rate as text is shorter than gzip's own header and trailer."""
    assert list(body(b"75.5273").encodings) == ["identity"]
    assert len(body(b"x" * SMALLEST_COMPRESSED).encodings) == 3


def test_every_encoding_has_a_strong_tag_of_its_own() -> None:
    """RFC 9110: a strong validator is of the bytes sent, so gzip's differs from brotli's."""
    one = body(b"x" * 1000)
    tags = [one.etag(name) for name in one.encodings]
    assert len(set(tags)) == 3
    assert all(re.fullmatch(r'"[0-9a-f]{24}(-br|-gzip)?"', tag) for tag in tags)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_other_bytes_or_another_type_have_another_tag(one: bytes, other: bytes) -> None:
    """And the same bytes of the same type the same, whatever headers go with them."""
    assert (body(one).tag == body(other).tag) is (one == other)
    assert body(one).tag != body(one, "text/plain").tag
    assert body(one).tag == dataclasses.replace(body(one), headers=(("X", "y"),)).tag


def test_a_variant_is_rendered_once() -> None:
    """The second request of the same variant finds it finished."""
    publication = Publication(SNAPSHOT, key=REVISION.key)
    first = publication.body(("rates", "en"), lambda: body(b"{}"))
    assert publication.body(("rates", "en"), never) is first
    with pytest.raises(AssertionError):
        publication.body(("rates", "ru"), never)


def test_a_rendering_that_fails_leaves_nothing_behind() -> None:
    """The next request tries again."""
    publication = Publication(SNAPSHOT, key=REVISION.key)
    with pytest.raises(AssertionError):
        publication.body("x", never)
    assert publication.body("x", lambda: body(b"1")).content == b"1"


def test_variants_are_bounded_and_the_oldest_goes_first() -> None:
    """A hundred thousand different questions do not fill the memory."""
    publication = Publication(SNAPSHOT, key=REVISION.key)
    rendered = [0]

    def render() -> Body:
        rendered[0] += 1
        return body(b"%d" % rendered[0])

    for number in range(2 * MOST_VARIANTS):
        publication.body(number, render)
    assert rendered[0] == 2 * MOST_VARIANTS
    for number in range(MOST_VARIANTS, 2 * MOST_VARIANTS):
        publication.body(number, never)
    publication.body(0, render)
    assert rendered[0] == 2 * MOST_VARIANTS + 1


def test_a_board_is_empty_until_the_first_publication() -> None:
    """And holds exactly one afterwards."""
    board = Board()
    assert board.current is None
    board.current = Publication(SNAPSHOT, key=REVISION.key)
    assert board.current.snapshot is SNAPSHOT
    assert board.current.key == (DAY, 1)


def test_a_forgotten_body_is_not_kept_alive_by_what_was_answered_with_it() -> None:
    """Otherwise a thousand addresses of long tables would hold a thousand of them, whatever the limit."""
    publication = Publication(SNAPSHOT, 1)
    for number in range(3):
        long = publication.body(number, lambda: body(bytes(MOST_LONG_BYTES // 2)))
        publication.remember(f"/{number}", SimpleNamespace(body=long, asked=1))
        assert set(publication.answers) <= {f"/{kept}" for kept in range(3) if publication.find(kept)}


def test_a_body_that_two_asked_for_at_once_is_kept_and_counted_once() -> None:
    """Two readers render the same long table beside the loop: both get the first one's, and nothing else gives way."""
    publication = Publication(SNAPSHOT, 1)
    short = publication.keep("short", body(b"short"))
    first = publication.keep("long", body(bytes(MOST_LONG_BYTES // 2)))
    assert publication.keep("long", body(bytes(MOST_LONG_BYTES // 2))) is first
    assert publication.find("short") is short
