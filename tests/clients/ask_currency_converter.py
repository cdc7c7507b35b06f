"""CurrencyConverter. The line of docs/dialects.md makes `converter`."""

import json
import sys
from datetime import date

from currency_converter import CurrencyConverter

line, *texts = sys.argv[1:]
exec(line)
print(
    json.dumps(
        {
            t: {c: str(converter.convert(1, "EUR", c, date.fromisoformat(t))) for c in ("RUB", "USD", "IRR")}
            for t in texts
        }
    )
)
