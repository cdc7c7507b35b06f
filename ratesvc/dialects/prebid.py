"""The currency file of Prebid.js: https://docs.prebid.org/dev-docs/modules/currency.html.

Every pair is given: what Prebid derives by itself it rounds to four decimals, which ruins
what is small: of a rial in roubles nothing is left.
"""

from __future__ import annotations

from ratesvc.dialects import JSON, Answer, Dialect, Question, Refusal, status
from ratesvc.domain.rates import per_unit
from ratesvc.errors import RatesvcError
from ratesvc.render.api import encode, literal


def conversions(asked: Question) -> Answer:
    """currency.json: in force today, from each currency to each other one."""
    revision = asked.snapshot.in_force

    def write() -> bytes:
        codes = sorted({"RUB", *revision.sheet.by_code})
        pairs = {
            base: {code: literal(rate) for code, rate in sorted(per_unit(revision.sheet, base).items())}
            for base in codes
        }
        return encode(
            {
                "generatedAt": revision.fetched_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "dataAsOf": f"{revision.effective_date}T00:00:00.000Z",
                "conversions": pairs,
            }
        )

    return Answer("conversions", JSON, write)


def refuse(error: RatesvcError) -> Refusal:
    """Prebid reads the status only."""
    return Refusal(status(error), JSON, encode({"error": str(error)}))


DIALECT = Dialect({"/currency.json": conversions}, refuse)
