"""oxr. The line of docs/dialects.md makes `client`."""

import json
import sys
from datetime import date

import oxr
from oxr.exceptions import InvalidCurrency, InvalidDateRange

line, *texts = sys.argv[1:]
exec(line)
days = [date.fromisoformat(text) for text in texts]


def texts_of(rates):
    return {code: str(rate) for code, rate in rates.items()}


def refusal(call):
    try:
        call()
    except (InvalidCurrency, InvalidDateRange) as error:
        return type(error).__name__


converted = client.convert(100, "USD", "IRR")
series = client.time_series(days[-2], days[-1], symbols=["RUB", "IRR"])
found = {
    "USD": texts_of(client.latest().rates),
    **{f"EUR {day}": texts_of(client.historical(day, "EUR").rates) for day in days},
    **{f"USD {day}": texts_of(rates) for day, rates in series.rates.items()},
}
refusals = [
    refusal(lambda: client.convert(1, "USD", "XQZ")),
    refusal(lambda: client.time_series(days[-1], days[0])),
]
more = {"converted": [str(converted.amount), str(converted.meta.rate)], "currencies": client.currencies()}
print(json.dumps({"rates": found, **more, "refusals": refusals}))
