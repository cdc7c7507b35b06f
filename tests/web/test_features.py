from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import Serve
from kit.bank import Bank, sheet
from kit.dates import FRIDAY

from ratesvc.errors import ConfigError
from ratesvc.installed import FEATURES
from ratesvc.web.features import load


def test_a_feature_without_another_that_it_needs_stops_the_start() -> None:
    """Otherwise its pages would lack something."""
    installed = load(FEATURES).on
    assert [feature.name for feature in installed] == [*FEATURES]
    for feature in installed:
        if feature.needs:
            with pytest.raises(ConfigError, match=f"features: {feature.name} needs {feature.needs[0]}"):
                load([feature.name])


async def test_the_service_alone_names_its_addresses_at_the_root(bank: Bank, serve: Serve) -> None:
    """Without any feature there are rates and probes."""
    bank.publish(sheet(FRIDAY))
    async with serve(features=()) as served:
        await served.ready()
        status, _, body = await served.get("/")
        assert (status, b"/v1/rates\n" in body) == (200, True)
        assert [(await served.get(path))[0] for path in ("/v1/rates", "/health", "/robots.txt", "/v1/series")] == [
            *(200, 200, 404, 404)
        ]


@pytest.mark.slow
def test_the_service_alone_loads_no_templates_and_no_pictures() -> None:
    """Without features it needs neither jinja2 nor Pillow."""
    code = "import sys, ratesvc.commands.serve; sys.exit(' '.join({'jinja2', 'PIL', 'babel'} & {*sys.modules}) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)
