"""CurrencyConverter. The line of docs/dialects.md makes `converter`."""

import json
import sys
from datetime import date

from currency_converter import CurrencyConverter

line, *days = sys.argv[1:]
exec(line)


def ask(day):
    return {code: str(converter.convert(1, "EUR", code, date.fromisoformat(day))) for code in ("RUB", "USD", "IRR")}


print(json.dumps({"rates": {f"EUR {day}": ask(day) for day in days}}))
