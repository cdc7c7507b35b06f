"""aioopenexchangerates. The line of docs/dialects.md says where the API is."""

import asyncio
import json
import sys

import aioopenexchangerates

exec(sys.argv[1])


async def ask():
    async with aioopenexchangerates.Client("any") as client:
        some = await client.get_latest(symbols=["RUB", "JPY"])
        rates = {"EUR": (await client.get_latest(base="EUR")).rates, "USD": some.rates}
        return {"rates": rates, "timestamp": some.timestamp, "currencies": await client.get_currencies()}


print(json.dumps(asyncio.run(ask())))
