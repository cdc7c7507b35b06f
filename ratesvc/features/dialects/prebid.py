"""The currency file of Prebid.js: https://docs.prebid.org/dev-docs/modules/currency.html.

It has every pair, because Prebid rounds the rates that it derives itself to four decimals: a rial in roubles would
become nothing.
"""

from __future__ import annotations

from ratesvc.features.dialects import JSON, Content, Dialect, Request
from ratesvc.features.ranges.conversion import per_unit
from ratesvc.render.json import encode, literal


def conversions(request: Request) -> Content:
    """currency.json: in force today, from each currency to each other one."""
    revision = request.snapshot.in_force

    def write() -> bytes:
        pairs = {
            base: {code: literal(rate) for code, rate in sorted(per_unit(revision.sheet, base).items())}
            for base in sorted(revision.sheet.costs)
        }
        generated = revision.fetched_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        as_of = f"{revision.effective_date}T00:00:00.000Z"
        return encode({"generatedAt": generated, "dataAsOf": as_of, "conversions": pairs})

    return Content("conversions", JSON, write)


# Prebid reads only the status of a refusal; the words are for people.
DIALECT = Dialect({"/currency.json": conversions}, lambda _, error: encode({"error": str(error)}))
