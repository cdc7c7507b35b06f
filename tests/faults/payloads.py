"""What a hostile client writes, and every place where it can write, from the routes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from ratesvc.domain.rates import Snapshot
from ratesvc.features.docs import openapi_json
from ratesvc.render.json import PROBLEM_JSON
from ratesvc.render.openapi import Site

# The two at the end end a line, or turn it round, for real.
PAYLOADS = (
    *r"""
<script>pwned()</script>
"><script>pwned()</script>
'><script>pwned()</script>
</script><script>pwned()</script>
</style><script>pwned()</script>
</title><svg onload=pwned()>
<img src=x onerror=pwned()>
<svg><animate onbegin=pwned() attributeName=x dur=1s>
<math><mtext></form><form><mglyph><style></math><img src onerror=pwned()>
<iframe srcdoc="<script>parent.pwned()</script>">
<iframe src="javascript:parent.pwned()">
<a href="javascript:pwned()" autofocus tabindex=1 onfocus=pwned()>x</a>
" autofocus onfocus="pwned()
"-pwned()-"
javascript:pwned()//
<body onload=pwned()>
<meta http-equiv=refresh content="0;url=/pwned?pwned()">
<base href="/pwned/"><img src="pwned()">
<link rel=stylesheet href="/pwned?pwned()">
<style>@import'/pwned?pwned()';*{background:url(/pwned)}</style>
x;background:url(/pwned);}*{color:red}</style><script>pwned()</script>
{{ pwned() }} ${ pwned() } #{ pwned() } <%= pwned() %>
{% for c in [].__class__.__base__.__subclasses__() %}{{c}}{% endfor %}pwned()
{0.__class__}{effective.__globals__}%s%npwned()
\"-pwned()-\"
\u003cscript\u003epwned()\u003c/script\u003e
&lt;script&gt;pwned()&lt;/script&gt;<!--><script>pwned()</script-->
]]><script xmlns="http://www.w3.org/1999/xhtml">pwned()</script><![CDATA[
<?php system('pwned()') ?><!--# exec cmd="pwned()" --><!--#include virtual="/etc/passwd" -->
<noscript><p title="</noscript><img src=x onerror=pwned()>">
""".strip().splitlines(),
    "\u202e<script>pwned()</script>\u2066",
    "\r\nX-Injected: 1\r\n\r\n<script>pwned()</script>",
)
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
    for operation in openapi_json.operations(Site(url), day):
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
