"""forex-python. The line of docs/dialects.md says where its source is."""

import json
import sys
from datetime import date

from forex_python.converter import CurrencyRates

line, *texts = sys.argv[1:]
exec(line)
exact = CurrencyRates(force_decimal=True)
print(
    json.dumps(
        {
            "latest": {code: str(rate) for code, rate in exact.get_rates("USD").items()},
            "sheets": {t: {c: str(r) for c, r in exact.get_rates("EUR", date.fromisoformat(t)).items()} for t in texts},
            "one": [str(CurrencyRates().get_rate("USD", "RUB", date.fromisoformat(text))) for text in texts],
        }
    )
)
