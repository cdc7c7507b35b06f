"""django-money. The line of docs/dialects.md stands in the settings."""

import json
import sys

import django
from django.conf import settings
from django.core.management import call_command

lines = {}
exec(sys.argv[1], lines)
settings.configure(
    INSTALLED_APPS=["djmoney", "djmoney.contrib.exchange"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    OPEN_EXCHANGE_RATES_APP_ID="any",
    OPEN_EXCHANGE_RATES_URL=lines["OPEN_EXCHANGE_RATES_URL"],
)
django.setup()
call_command("migrate", verbosity=0)

from djmoney.contrib.exchange.backends import OpenExchangeRatesBackend
from djmoney.contrib.exchange.models import Rate, convert_money
from djmoney.money import Money

OpenExchangeRatesBackend().update_rates()
print(
    json.dumps(
        {
            "rates": {rate.currency: str(rate.value) for rate in Rate.objects.all()},
            "converted": str(convert_money(Money(100, "USD"), "RUB").amount),
        }
    )
)
