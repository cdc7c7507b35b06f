"""Models that datamodel-code-generator made from our /openapi.json: `python ask_models.py FOLDER ADDRESS`."""

import json
import sys
from urllib.request import urlopen

folder, address = sys.argv[1:]
sys.path.insert(0, folder)

from models import Conversion, Currencies, Rates, Series, Sheets


def got(path):
    with urlopen(address + path) as answer:  # noqa: S310 -- the service's address
        return answer.read().decode()


def read(model, path):
    return model.model_validate_json(got(path))


today = read(Rates, "/v1/rates?codes=USD,IRR")
series = read(Series, "/v1/series?codes=USD&since=2026-04-24&until=2026-04-27")
means = read(Series, "/v1/series?codes=USD&since=2026-04-01&group=month")
converted = read(Conversion, "/v1/convert?amount=100&from=USD&to=EUR")
print(
    json.dumps(
        {
            "today": [str(today.effective_date), str(today.rates["USD"].value), today.rates["IRR"].nominal],
            "number": got("/v1/rates/today/USD.txt?quote_currency=EUR"),
            "series": [[str(row.date), str(row.unit_rate)] for row in series.rows],
            "mean": str(means.rows[0].unit_rate),
            "converted": [str(converted.unit_rate), converted.result_rounded],
            "sheets": len(read(Sheets, "/v1/sheets?since=2026-04-24").rows),
            "table": got("/v1/history.csv?codes=USD&since=2026-04-25"),
            "known": read(Currencies, "/v1/currencies").currencies["IRR"].cbr_ids[0],
        }
    )
)
