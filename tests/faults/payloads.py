"""What a hostile client writes, and every place where it can write, from the routes and the dialects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from urllib.parse import parse_qsl, quote, urlencode

from ratesvc.domain.history import History
from ratesvc.domain.rates import Snapshot
from ratesvc.features.dialects import Dialect, Refused, Request
from ratesvc.features.docs import openapi
from ratesvc.installed import DIALECTS
from ratesvc.render.contract import Site
from ratesvc.render.json import PROBLEM_JSON

CALLS = ("pwned()", "window['pw'+'ned']()", "top.pwned()", "self[`pwned`]``", "eval(atob('cHduZWQoKQ=='))")
# § is where a call goes. The two at the end end a line, or turn it round, for real.
FORMS = (
    *r"""
<script>§</script>
"><script>§</script>
'><script>§</script>
</script><script>§</script>
</style><script>§</script>
</title><svg onload=§>
</textarea><img src=x onerror=§>
<img src=x onerror=§>
<img srcset=x onerror=§>
<video><source onerror=§>
<svg><animate onbegin=§ attributeName=x dur=1s>
<svg><script href="data:text/javascript,§"/>
<svg><use href="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='§'/>"/>
<math><mtext></form><form><mglyph><style></math><img src onerror=§>
<iframe srcdoc="<script>parent.§</script>">
<iframe src="javascript:parent.§">
<a href="javascript:§" autofocus tabindex=1 onfocus=§>x</a>
<input autofocus onfocus=§>
" autofocus onfocus="§
' autofocus onfocus='§
"-§-"
'-§-'
` onmouseover=`§
javascript:§//
<details open ontoggle=§>
<body onload=§>
<meta http-equiv=refresh content="0;url=/pwned?§">
<base href="/pwned/"><img src="§">
<object data="javascript:§"><embed src="javascript:§">
<link rel=stylesheet href="/pwned?§">
<style>@import'/pwned?§';*{background:url(/pwned)}</style>
<style>@keyframes x{}</style><p style="animation:x 1s" onanimationstart=§>
x;background:url(/pwned);}*{color:red}</style><script>§</script>
{{ § }} ${ § } #{ § } <%= § %>
{% for c in [].__class__.__base__.__subclasses__() %}{{c}}{% endfor %}§
{{config}}{{self.__init__.__globals__}}{{7*7}}§
{0.__class__}{effective.__globals__}%s%n§
\"-§-\"
\u003cscript\u003e§\u003c/script\u003e
&lt;script&gt;§&lt;/script&gt;<!--><script>§</script-->
]]><script xmlns="http://www.w3.org/1999/xhtml">§</script><![CDATA[
<x:script xmlns:x="http://www.w3.org/1999/xhtml">§</x:script>
<?php system('§') ?><!--# exec cmd="§" --><!--#include virtual="/etc/passwd" -->
＜script＞§＜/script＞
<noscript><p title="</noscript><img src=x onerror=§>">
<template shadowrootmode=open><script>§</script></template>
""".strip().splitlines(),
    "\u202e<script>§</script>\u2066",
    "\r\nX-Injected: 1\r\n\r\n<script>§</script>",
)
PAYLOADS = tuple(form.replace("§", call) for form, call in product(FORMS, CALLS))
HARMLESS = "harmless"
HERE = "HERE"


@dataclass(frozen=True, slots=True)
class Spot:
    """A target with HERE in place of one parameter, and the statuses and media types that its route may answer."""

    route: str
    name: str
    target: str
    statuses: frozenset[int]
    media: frozenset[str]

    def written(self, text: str) -> str:
        """The target with this text in the place."""
        return self.target.replace(HERE, quote(text, safe=""))


def our_spots(snapshot: Snapshot, url: str) -> Iterator[Spot]:
    """Each parameter of each described route, an unknown parameter's name, and an unknown path."""
    day = snapshot.today
    for operation in openapi.operations(Site(url), day):
        route, answers = operation["path"], operation["responses"]
        path, _, query = operation["x-example"].removeprefix(url).partition("?")
        given = dict(parse_qsl(query))
        statuses = frozenset(status for status in answers if status < 500) - {304, 405}
        refusals = [
            answer.get("content", {"text/html"}) for status, answer in answers.items() if status not in (304, 405)
        ]
        media = frozenset({"text/html", PROBLEM_JSON} & {one for kinds in refusals for one in kinds})
        media |= answers[200]["content"].keys()
        for parameter in operation["parameters"]:
            name = parameter["name"]
            if parameter["in"] == "query":
                known = frozenset({501}) if name == "format" and route == "/oembed" else statuses
                yield Spot(route, name, f"{path}?{urlencode({**given, name: HERE})}", known, media)
            if parameter["in"] == "path":
                values = {"date": day.isoformat(), "code": "USD", name: HERE}
                yield Spot(route, name, route.format(**values), statuses | {404}, media)
        if {304, 400} & answers.keys():  # the probes read no query at all
            yield Spot(route, "a name", f"{path}?{urlencode({**given, HERE: 1})}", statuses, media)
    framed = urlencode({"url": f"{url}/embed?heading={HERE}"})
    yield Spot("/oembed", "heading in url", f"/oembed?{framed}", frozenset({200}), frozenset({"application/json"}))
    yield Spot("/nowhere", "path", f"/{HERE}", frozenset({400, 404}), frozenset({PROBLEM_JSON}))


# Values for all parameters of the dialects, so that none hides another.
GIVEN = dict(
    parse_qsl(
        "amount=100&from=USD&to=CNY&numeric=840&VAL_NM_RQ=R01235&date_req=18/11/2022&date_req1=01/11/2022"
        "&date_req2=18/11/2022&year=2022&month=11&day=2022-11-18&when=2022-11-18&start=2022-11-01&end=2022-11-18"
    )
)
# Frankfurter v2 refuses unknown parameters.
OF_V2 = dict(parse_qsl("from=2022-11-01&to=2022-11-18&base=USD&quotes=RUB&group=week&expand=providers"))
IN_PATHS = {"quote": "RUB", "code": "USD", "providers": "cbr"}


class Noting(dict[str, str]):
    """Parameters that note every name that is looked up."""

    def __init__(self, given: dict[str, str]) -> None:
        super().__init__(given)
        self.names: set[str] = set()

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
        self.names.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return super().__getitem__(name)


def foreign_spots(history: History, snapshot: Snapshot, url: str) -> Iterator[Spot]:
    """Each parameter that a dialect's route looks up, and the usual name of a JSONP callback."""
    for speaker in DIALECTS:
        dialect: Dialect = import_module(f"ratesvc.features.dialects.{speaker.replace('-', '_')}").DIALECT
        prefix = dialect.prefix or f"/{speaker}"
        for ask, template in {ask: path for path, ask in dialect.routes.items()}.items():
            in_path = set(re.findall(r"{(\w+)}", template))
            given = OF_V2 if speaker == "frankfurter-v2" else GIVEN
            if "{year}" in template:
                given = {**given, "day": "18"}
            noting = Noting(given | {name: IN_PATHS[name] for name in in_path & IN_PATHS.keys()})
            try:
                answer = ask(Request(history, snapshot, url, noting))
            except Refused as refused:
                assert refused.status in {403, 406}, template  # noqa: PT017 -- these routes always refuse
                continue
            media = {text.partition(";")[0] for text in (answer.media, dialect.refuse(Refused(404, "")).media)}
            names = noting.names | in_path
            for name in sorted({*names, "callback"}):
                values = {one: noting[one] for one in noting.keys() & names} | {name: HERE}
                query = {one: value for one, value in values.items() if one not in in_path}
                target = f"{prefix}{template.format(**values)}?{urlencode(query)}"
                yield Spot(f"{prefix}{template}", name, target, frozenset({200, 400, 404, 422}), frozenset(media))
