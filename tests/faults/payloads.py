"""What a hostile client writes, and every place where it can write, from the routes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from urllib.parse import parse_qsl, quote, urlencode

from ratesvc.domain.rates import Snapshot
from ratesvc.features.docs import openapi
from ratesvc.render.contract import Site
from ratesvc.render.json import PROBLEM_JSON

CALLS = ("pwned()", "window['pw'+'ned']()", "self[`pwned`]``", "eval(atob('cHduZWQoKQ=='))")
# § is where a call goes. The two at the end end a line, or turn it round, for real.
FORMS = (
    *r"""
<script>§</script>
"><script>§</script>
'><script>§</script>
</script><script>§</script>
</style><script>§</script>
</title><svg onload=§>
<img src=x onerror=§>
<svg><animate onbegin=§ attributeName=x dur=1s>
<math><mtext></form><form><mglyph><style></math><img src onerror=§>
<iframe srcdoc="<script>parent.§</script>">
<iframe src="javascript:parent.§">
<a href="javascript:§" autofocus tabindex=1 onfocus=§>x</a>
" autofocus onfocus="§
"-§-"
javascript:§//
<body onload=§>
<meta http-equiv=refresh content="0;url=/pwned?§">
<base href="/pwned/"><img src="§">
<link rel=stylesheet href="/pwned?§">
<style>@import'/pwned?§';*{background:url(/pwned)}</style>
x;background:url(/pwned);}*{color:red}</style><script>§</script>
{{ § }} ${ § } #{ § } <%= § %>
{% for c in [].__class__.__base__.__subclasses__() %}{{c}}{% endfor %}§
{0.__class__}{effective.__globals__}%s%n§
\"-§-\"
\u003cscript\u003e§\u003c/script\u003e
&lt;script&gt;§&lt;/script&gt;<!--><script>§</script-->
]]><script xmlns="http://www.w3.org/1999/xhtml">§</script><![CDATA[
<?php system('§') ?><!--# exec cmd="§" --><!--#include virtual="/etc/passwd" -->
<noscript><p title="</noscript><img src=x onerror=§>">
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
