"""A client that openapi-python-client made from our /openapi.json: `python ask_openapi.py FOLDER ADDRESS`."""

import json
import sys
from importlib import import_module
from pkgutil import walk_packages

folder, address = sys.argv[1:]
sys.path.insert(0, folder)

import ratesvc_client
from ratesvc_client import Client
from ratesvc_client.api.history import convert, currencies, history, series, sheets
from ratesvc_client.api.rates import rates, unit_rate
from ratesvc_client.models import SeriesFill

modules = [import_module(found.name) for found in walk_packages(ratesvc_client.__path__, "ratesvc_client.")]
client = Client(base_url=address, raise_on_unexpected_status=True)
today = rates.sync(client=client, codes="USD,IRR")
crossed = rates.sync(client=client, codes="USD", quote_currency="EUR")
range_ = {"codes": "USD", "since": "2026-04-24", "until": "2026-04-27", "client": client}
set_, daily = series.sync(**range_), series.sync(**range_, fill=SeriesFill.DAILY)
converted = convert.sync(client=client, amount="100", from_="USD", to="EUR")
known = currencies.sync(client=client)
refused = convert.sync(client=client, from_="USD", to="XQZ")
number = unit_rate.sync("today", "USD", client=client, quote_currency="EUR")
print(
    json.dumps(
        {
            "modules": len(modules),
            "today": [str(today.effective_date), today.rates["USD"].value, today.rates["IRR"].nominal],
            "crossed": crossed.rates["USD"].unit_rate,
            "number": number,
            "set": [[str(row.date), row.unit_rate] for row in set_.rows],
            "daily": [str(row.effective_date) for row in daily.rows],
            "converted": [converted.unit_rate, converted.result_rounded, str(converted.effective_date)],
            "known": [known.complete, known.currencies["IRR"].cbr_ids],
            "sheets": [str(row.effective_date) for row in sheets.sync(client=client, since="2026-04-24").rows],
            "table": history.sync(client=client, codes="USD", since="2026-04-25"),
            "refused": [refused.type_.value, refused.status],
        }
    )
)
