"""Three clients of the European Central Bank, whose address is in their code: ecbrates, pricehist, ecb-fx-rates."""

import asyncio
import json
import os
import socket
import sys
from datetime import datetime

from ecbrates import CurrencyRates
from pricehist.series import Series
from pricehist.sources.ecb import ECB

if sys.version_info >= (3, 12):
    import aiohttp
    from ecb_fx_rates import EcbRatesClient

CODES = ("RUB", "USD", "IRR")
days = sys.argv[1:]

# What a hosts file does, with a port.
name, host, port = os.environ["STANDS_FOR"].split()
known = socket.getaddrinfo


def found_here(asked, at, *rest, **options):
    return known(host, int(port), *rest, **options) if asked == name else known(asked, at, *rest, **options)


socket.getaddrinfo = found_here


async def newest():
    async with aiohttp.ClientSession() as session:
        found = [await EcbRatesClient().fetch_daily(session)]
        for ask in (EcbRatesClient().fetch_last_90_days, EcbRatesClient().fetch_history):
            found += (await ask(session))[-1:]
    return [[str(sheet.date), {code: str(sheet.get(code)) for code in CODES}] for sheet in found]


rates, found = CurrencyRates(), {"ecbrates": {}, "pricehist": {}}
series = {code: ECB().fetch(Series("EUR", code, "reference", "1999-01-01", days[-1])).prices for code in CODES}
for day in days:
    found["ecbrates"][f"EUR {day}"] = {code: rates.get_rate("EUR", code, datetime.fromisoformat(day)) for code in CODES}
    last = {code: [price for price in prices if price.date <= day][-1] for code, prices in series.items()}
    found["pricehist"][f"EUR {day}"] = {code: str(price.amount) for code, price in last.items()}
if sys.version_info >= (3, 12):
    found["ecb-fx-rates"] = asyncio.run(newest())
print(json.dumps(found))
