"""pycbrf and python-cbr. The environment says which proxy to ask."""

import json
import sys

from cbr.cbr import get_exchange_rates
from pycbrf import ExchangeRates

found = {}
for day in sys.argv[1:]:
    sheet = ExchangeRates(day, locale_en=True)
    year, month, date = day.split("-")
    found[day] = {
        "pycbrf": [
            str(sheet.date_received.date()),
            {rate.code: [str(rate.value), int(rate.par)] for rate in sheet.rates},
        ],
        "python-cbr": {
            rate["symbol"]: [str(rate["rate"]), rate["amount"]] for rate in get_exchange_rates(f"{date}.{month}.{year}")
        },
    }
print(json.dumps({"newest": str(ExchangeRates().date_received.date()), "sheets": found}))
