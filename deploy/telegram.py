#!/usr/bin/env python3
"""Post what it reads to a channel of Telegram: a command for `ratesvc watch --exec`, as docs/api.md shows."""

import json
import os
import sys
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

api = os.environ.get("TELEGRAM_API", "https://api.telegram.org")
try:
    message = {"chat_id": os.environ["TELEGRAM_CHAT"], "text": sys.stdin.read()}
    address = f"{api}/bot{os.environ['TELEGRAM_TOKEN']}/sendMessage"
    urlopen(address, urlencode(message).encode(), timeout=20)  # noqa: S310 -- an address of yours
except KeyError as error:
    sys.exit(f"telegram: {error.args[0]} is not set")
except HTTPError as error:
    # https://core.telegram.org/bots/api#making-requests
    try:
        sys.exit(f"telegram: {json.load(error)['description']}")
    except (ValueError, LookupError, TypeError):
        sys.exit(f"telegram: {error}")
except OSError as error:
    sys.exit(f"telegram: {error}")
