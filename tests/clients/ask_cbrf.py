"""egregors/cbrf. The environment says where the Bank is."""

import json
import sys
from datetime import datetime

from cbrf.models import CurrenciesInfo, DailyCurrenciesRates, DynamicCurrenciesRates

days = [datetime.fromisoformat(day) for day in sys.argv[1:]]
sheets = {}
for day in days:
    for lang in ("rus", "eng"):
        sheet = DailyCurrenciesRates(day, lang)
        rates = {r.char_code: [str(r.value), r.denomination, r.name] for r in sheet.rates.values()}
        sheets[f"{day.date()} {lang}"] = [str(sheet.date.date()), rates]
series = DynamicCurrenciesRates(days[0], days[-1], "R01300")
print(
    json.dumps(
        {
            "sheets": sheets,
            "newest": str(DailyCurrenciesRates().date.date()),
            "series": [[str(r.date.date()), str(r.value), r.denomination] for r in series.rates.values()],
            "names": {c.iso_char_code: [c.name, c.eng_name] for c in CurrenciesInfo().currencies.values()},
        }
    )
)
