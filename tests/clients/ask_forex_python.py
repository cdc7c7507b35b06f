"""forex-python. The line of docs/dialects.md says where its source is."""

import json
import sys
from datetime import date

from forex_python.converter import CurrencyRates

line, *days = sys.argv[1:]
exec(line)
exact = CurrencyRates(force_decimal=True)
found = {"USD": {code: str(rate) for code, rate in exact.get_rates("USD").items()}}
for text in days:
    day = date.fromisoformat(text)
    found[f"EUR {text}"] = {code: str(rate) for code, rate in exact.get_rates("EUR", day).items()}
    found[f"USD {text}"] = {"RUB": CurrencyRates().get_rate("USD", "RUB", day)}
print(json.dumps({"rates": found}))
