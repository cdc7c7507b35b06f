"""frankfurter-api. The line of docs/dialects.md says where the API is."""

import asyncio
import json
import sys

from frankfurter_api import FrankfurterAPI

line, *codes = sys.argv[1:]
exec(line)
client = FrankfurterAPI()


async def ask():
    return {
        "rates": {"USD": {code: (await client.get_rate(base="usd", target=code))["rate"] for code in codes}},
        "currencies": [one["iso_code"] for one in await client.get_currencies()],
    }


print(json.dumps(asyncio.run(ask())))
