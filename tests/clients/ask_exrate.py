"""exrate, a command line. The line of docs/dialects.md says where its API is."""

import json
import sys
from contextlib import redirect_stdout
from io import StringIO

import exrate

line, *days = sys.argv[1:]
exec(line)


def say(*words):
    said = StringIO()
    with redirect_stdout(said):
        exrate.main(words)
    return said.getvalue()


def ask(*words):
    return json.loads(say(*words, "--json"))


try:
    refusal = say("rate", "USD", "XYZ")
except SystemExit as error:
    refusal = error.code

print(
    json.dumps(
        {
            "rates": {
                "USD": {one["quote"]: one["rate"] for one in ask("rates", "--base", "usd")},
                **{f"EUR {day}": {one["quote"]: one["rate"] for one in ask("rates", "--date", day)} for day in days},
            },
            "pair": ask("rate", "EUR", "RUB", "--date", days[0], "--providers", "CBR"),
            "series": [
                [one["date"], one["rate"]] for one in ask("rates", "--from", days[1], "--quotes", "RUB", "--expand")
            ],
            "months": ask("rates", "--from", days[1], "--group", "month", "--base", "USD", "--quotes", "RUB"),
            "csv": say("rates", "--csv", "--date", days[0], "--base", "USD", "--quotes", "RUB"),
            "converted": ask("convert", "100", "USD", "JPY"),
            "currencies": [one["iso_code"] for one in ask("currencies", "--all")],
            "currency": ask("currency", "RUB")["iso_numeric"],
            "table": say("providers"),
            "refusal": refusal,
        }
    )
)
