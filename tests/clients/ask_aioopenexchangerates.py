"""aioopenexchangerates. The line of docs/dialects.md says where the API is."""

import asyncio
import json
import sys

import aioopenexchangerates

exec(sys.argv[1])


async def ask():
    async with aioopenexchangerates.Client("any") as client:
        return {
            "latest": (await client.get_latest(base="EUR")).rates,
            "some": (await client.get_latest(symbols=["RUB", "JPY"])).rates,
            "timestamp": (await client.get_latest()).timestamp,
            "currencies": await client.get_currencies(),
        }


print(json.dumps(asyncio.run(ask())))
