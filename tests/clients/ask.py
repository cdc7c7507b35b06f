"""Asks one of other people's clients: `python ask.py NAME ARGUMENTS`. Prints what it got, as JSON.

A line of docs/dialects.md says where its API is. Each function runs in a Python that has its client.
"""

import asyncio
import json
import sys
from contextlib import redirect_stdout
from datetime import date, datetime
from io import StringIO


def set_by(line, **known):
    """Run the line with these names; returns them, and what it sets."""
    exec(line, known)
    return known


def texts_of(rates):
    return {code: str(rate) for code, rate in rates.items()}


def aioopenexchangerates(line):
    import aioopenexchangerates as module

    async def ask():
        async with module.Client("any") as client:
            some = await client.get_latest(symbols=["RUB", "JPY"])
            return {"EUR": (await client.get_latest(base="EUR")).rates, "USD": some.rates}

    set_by(line, aioopenexchangerates=module)
    return asyncio.run(ask())


def cbrf(*days):
    """The environment says where the Bank is."""
    from cbrf.models import DailyCurrenciesRates

    sheets = {"": DailyCurrenciesRates(), **{day: DailyCurrenciesRates(datetime.fromisoformat(day)) for day in days}}
    rates = {day: sheet.rates.values() for day, sheet in sheets.items()}
    return {day: {one.char_code: [str(one.value), one.denomination] for one in rates[day]} for day in sheets}


def currencyconverter(line, *days):
    from currency_converter import CurrencyConverter

    convert = set_by(line, CurrencyConverter=CurrencyConverter)["converter"].convert
    codes = ("RUB", "USD", "IRR")
    asked = {f"EUR {day}": {code: convert(1, "EUR", code, date.fromisoformat(day)) for code in codes} for day in days}
    return {day: texts_of(rates) for day, rates in asked.items()}


def django_money(line):
    """The line stands in the settings."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        INSTALLED_APPS=["djmoney", "djmoney.contrib.exchange"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        OPEN_EXCHANGE_RATES_APP_ID="any",
        OPEN_EXCHANGE_RATES_URL=set_by(line)["OPEN_EXCHANGE_RATES_URL"],
    )
    django.setup()
    call_command("migrate", verbosity=0)
    from djmoney.contrib.exchange.backends import OpenExchangeRatesBackend
    from djmoney.contrib.exchange.models import Rate, convert_money
    from djmoney.money import Money

    OpenExchangeRatesBackend().update_rates()
    rates = {rate.currency: str(rate.value) for rate in Rate.objects.all()}
    return {"rates": rates, "converted": str(convert_money(Money(100, "USD"), "RUB").amount)}


def exrate(line, *days):
    """A command line."""
    import exrate as module

    set_by(line, exrate=module)

    def rates(*words):
        said = StringIO()
        with redirect_stdout(said):
            module.main(("rates", *words, "--json"))
        return {one["quote"]: one["rate"] for one in json.loads(said.getvalue())}

    return {"USD": rates("--base", "usd"), **{f"EUR {day}": rates("--date", day) for day in days}}


def forex_python(line, *days):
    from forex_python.converter import CurrencyRates

    set_by(line, CurrencyRates=CurrencyRates)
    exact = CurrencyRates(force_decimal=True)
    found = {"USD": texts_of(exact.get_rates("USD"))}
    for day in days:
        found[f"EUR {day}"] = texts_of(exact.get_rates("EUR", date.fromisoformat(day)))
        found[f"USD {day}"] = {"RUB": CurrencyRates().get_rate("USD", "RUB", date.fromisoformat(day))}
    return found


def frankfurter_api(line, *codes):
    from frankfurter_api import FrankfurterAPI

    set_by(line, FrankfurterAPI=FrankfurterAPI)

    async def ask():
        return {"USD": {code: (await FrankfurterAPI().get_rate(base="usd", target=code))["rate"] for code in codes}}

    return asyncio.run(ask())


def models(folder, address):
    """Models that datamodel-code-generator made from our /openapi.json."""
    from urllib.request import urlopen

    sys.path.insert(0, folder)
    from models import Conversion, Currencies, Periods, Rates, Series, Sheets

    def got(path):
        with urlopen(address + path) as answer:  # noqa: S310 -- the service's address
            return answer.read().decode()

    def read(model, path):
        return model.model_validate_json(got(path))

    today = read(Rates, "/v1/rates?codes=USD,IRR")
    series = read(Series, "/v1/series?codes=USD&since=2026-04-24&until=2026-04-27")
    means = read(Periods, "/v1/periods?codes=USD&since=2026-04-01")
    converted = read(Conversion, "/v1/convert?amount=100&from=USD&to=EUR")
    return {
        "today": [str(today.effective_date), str(today.rates["USD"].value), today.rates["IRR"].nominal],
        "number": got("/v1/rates/today/USD.txt?quote_currency=EUR"),
        "series": [[str(row.date), str(row.unit_rate)] for row in series.rows],
        "mean": str(means.periods[0].mean_rate),
        "converted": [str(converted.results["EUR"].unit_rate), converted.results["EUR"].result],
        "sheets": len(read(Sheets, "/v1/sheets?since=2026-04-24").rows),
        "table": got("/v1/history.csv?codes=USD&since=2026-04-25"),
        "known": read(Currencies, "/v1/currencies").currencies["IRR"].cbr_ids[0],
        "flags": [flag.root for flag in today.flags],
    }


def openapi(folder, address):
    """A client that openapi-python-client made from our /openapi.json; each of its modules is imported."""
    from importlib import import_module
    from pkgutil import walk_packages

    sys.path.insert(0, folder)
    import ratesvc_client
    from ratesvc_client import Client
    from ratesvc_client.api.history import get_history_csv, get_periods, get_series, list_currencies, list_sheets
    from ratesvc_client.api.rates import convert, get_rates, get_unit_rate
    from ratesvc_client.models import GetPeriodsGroup, Period, SeriesRow

    modules = [import_module(found.name) for found in walk_packages(ratesvc_client.__path__, "ratesvc_client.")]
    client = Client(base_url=address, raise_on_unexpected_status=True)
    today = get_rates.sync(client=client, codes="USD,IRR")
    rows = get_series.sync(client=client, codes="USD", since="2026-04-24", until="2026-04-27").rows
    means = get_periods.sync(client=client, codes="USD", since="2026-04-01", group=GetPeriodsGroup.MONTH).periods
    converted = convert.sync(client=client, amount="100", from_="USD", to="EUR")
    # One type for the rate of a day and another for a month: neither has the other's fields.
    assert {type(row) for row in rows} == {SeriesRow}
    assert {type(row) for row in means} == {Period}
    assert not hasattr(means[0], "unit_rate")
    refused = convert.sync(client=client, from_="USD", to="XQZ")
    return {
        "modules": len(modules),
        "today": [str(today.effective_date), today.rates["USD"].value, today.rates["IRR"].nominal],
        "number": get_unit_rate.sync("today", "USD", client=client, quote_currency="EUR"),
        "series": [[str(row.date), row.unit_rate] for row in rows],
        "mean": means[0].mean_rate,
        "converted": [converted.results["EUR"].unit_rate, converted.results["EUR"].result],
        "sheets": len(list_sheets.sync(client=client, since="2026-04-24").rows),
        "table": get_history_csv.sync(client=client, codes="USD", since="2026-04-25"),
        "known": list_currencies.sync(client=client).currencies["IRR"].cbr_ids[0],
        "flags": today.flags,
        "refused": [str(refused.type_), refused.status],
    }


def oxr(line, *texts):
    import oxr as module

    client, days = set_by(line, oxr=module)["client"], [date.fromisoformat(text) for text in texts]
    rates = {
        "USD": client.latest().rates,
        **{f"EUR {day}": client.historical(day, "EUR").rates for day in days},
        **{f"USD {day}": rates for day, rates in client.time_series(days[-2], days[-1]).rates.items()},
    }
    return {name: texts_of(found) for name, found in rates.items()}


def pycbrf(*days):
    """The environment says which proxy to ask."""
    from pycbrf import ExchangeRates

    sheets = {"": ExchangeRates(), **{day: ExchangeRates(day) for day in days}}
    return {day: {one.code: [str(one.value), int(one.par)] for one in sheets[day].rates} for day in sheets}


def python_cbr(*days):
    """The environment says which proxy to ask."""
    from cbr.cbr import get_exchange_rates

    sheets = {day: get_exchange_rates(".".join(day.split("-")[::-1])) for day in days}
    return {day: {one["symbol"]: [str(one["rate"]), one["amount"]] for one in sheets[day]} for day in days}


if found := globals()[sys.argv[1]](*sys.argv[2:]):
    print(json.dumps(found))
