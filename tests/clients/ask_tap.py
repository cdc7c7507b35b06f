"""tap-openexchangerates, from a day up to yesterday. The line of docs/dialects.md says where the API is."""

import sys

from tap_openexchangerates.client import openexchangeratesStream
from tap_openexchangerates.tap import Tapopenexchangerates

line, first = sys.argv[1:]
exec(line)
Tapopenexchangerates(config={"app_id": "any", "start_date": first}).sync_all()
