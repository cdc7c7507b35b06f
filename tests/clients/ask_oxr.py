"""oxr. The line of docs/dialects.md makes `client`."""

import json
import sys
from datetime import date

import oxr
from oxr.exceptions import InvalidCurrency, InvalidDateRange

line, *texts = sys.argv[1:]
exec(line)
days = [date.fromisoformat(text) for text in texts]


def refusal(call):
    try:
        call()
    except (InvalidCurrency, InvalidDateRange) as error:
        return type(error).__name__


converted = client.convert(100, "USD", "IRR")
series = client.time_series(days[-2], days[-1], symbols=["RUB", "IRR"])
print(
    json.dumps(
        {
            "latest": {code: str(rate) for code, rate in client.latest().rates.items()},
            "sheets": {
                text: {c: str(r) for c, r in client.historical(day, "EUR").rates.items()}
                for text, day in zip(texts, days)
            },
            "series": {str(day): {c: str(r) for c, r in rates.items()} for day, rates in series.rates.items()},
            "converted": [str(converted.amount), str(converted.meta.rate)],
            "currencies": client.currencies(),
            "refusals": [
                refusal(lambda: client.convert(1, "USD", "XQZ")),
                refusal(lambda: client.time_series(days[-1], days[0])),
            ],
        }
    )
)
