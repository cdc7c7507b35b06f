"""What host pages do to the element in row E13: names in HTML, polluted objects, libraries, moves.

Each attack is a name and a script, or a part of one; host_pages.py puts it into a page.
"""

from __future__ import annotations

import json

# What our scripts, or others that one might think of, ask of a document, and of the window.
NAMES = (
    *("currentScript", "createElementNS", "createTextNode", "defaultView", "hidden", "querySelector", "body", "host"),
    *("ownerDocument", "getRootNode", "adoptedStyleSheets", "lang", "addEventListener", "dispatchEvent"),
    *("fetch", "customElements", "CSSStyleSheet", "Reflect", "Document", "AbortSignal", "CustomEvent", "window"),
)
NAMED = {
    "img": '<img name="{name}" id="{name}" src="{evil}">',
    "form": '<form name="{name}" action="{evil}"></form>',
    "iframe": '<iframe name="{name}" id="{name}" hidden></iframe>',
}
"""Elements that a document knows by their names; a site that cleans comments may let them through."""

KEYS = (
    *("onmouseover", "onclick", "onerror", "onload", "onfocus", "href", "src", "srcdoc", "style", "is", "innerHTML"),
    *("class", "part", "title", "data", "content", "rows", "cells", "name", "lang", "id", "slot"),
    *("method", "mode", "headers", "body", "credentials", "integrity", "redirect", "cache", "signal", "keepalive"),
    *("slotAssignment", "delegatesFocus", "clonable", "registry", "customElementRegistry", "cancelable", "detail"),
    *("0", "1", "2", "3", "url", "due", "shown", "state", "turn", "words", "amount", "result", "media", "length"),
    *("baseURL", "disabled", "extends", "capture", "once", "passive", "toJSON", "then"),
)
EACH = f"for (const key of {json.dumps(KEYS)})"
POLLUTIONS = {
    "every key": f"{EACH} Object.prototype[key] = 'pwned()'",
    "every key of arrays": f"{EACH} if (key != 'length') Array.prototype[key] = 'pwned()'",
    "links": "Object.prototype.href = 'javascript:pwned()'",
    "objects": f"{EACH} Object.prototype[key] = {{ toString: () => 'pwned()' }}",
    "functions": f"{EACH} if (key != 'then') Object.prototype[key] = () => 'pwned()'",
    "setters": f"{EACH} Object.defineProperty(Object.prototype, key, {{ set() {{ throw Error('set') }}, get() {{}} }})",
    "frozen": "for (const one of [Object, Array, String, Function, Promise, Element, Node, HTMLElement, Document]) "
    "{ Object.freeze(one); Object.freeze(one.prototype) }",
}


# What libraries of twenty years do to everybody's objects, and what polyfills play where a browser has the real thing.
LIBRARIES = {
    "names of its own": "let fetch = 1, jobs = 3, rest = 4, known = 5, allowed = 6, built = 7, of = 8, AbortSignal = 9",
    "extended arrays": """
      Array.from = list => {
        const made = [];
        for (let at = 0; at < (list.length || 0); at++) made[at] = list[at];
        return made };
      for (const name of ["each", "collect", "flatten", "first", "entries", "inspect", "toJSON", "append", "remove"])
        Array.prototype[name] = function () { return this };
      String.prototype.startsWith = function (text) { return this.indexOf(text) == 0 };
      String.prototype.sub = String.prototype.strip = String.prototype.toJSON = function () { return this };
      Function.prototype.bind = function (self) { const body = this; return () => body.apply(self, arguments) };
      Object.keys = object => { const keys = []; for (const key in object) keys.push(key); return keys };""",
    "extended elements": """
      const add = {
        show() { this.style.display = ""; return this }, hide() { this.style.display = "none"; return this },
        remove() { this.parentNode.removeChild(this); return this }, get() { return "" }, set() { return this },
        update(html) { this.innerHTML = html; return this }, replaceChildren(html) { this.innerHTML = html },
        append(html) { this.innerHTML += html }, prepend(html) { this.innerHTML = html + this.innerHTML } };
      const { prototype } = window.Element;
      for (const one of [prototype, HTMLElement.prototype, DocumentFragment.prototype]) Object.assign(one, add);
      window.Element = function (tag) { return document.createElement(tag) };
      window.Element.prototype = prototype;
      Event.prototype.stop = function () { this.stopImmediatePropagation() }""",
    "shadow DOM": """
      class ShadowyRoot {
        constructor(host) { this.host = host }
        set textContent(text) { this.host.textContent = text }
        get textContent() { return this.host.textContent }
        appendChild(node) { return this.host.appendChild(node) }
        replaceChildren(...all) { this.host.replaceChildren(...all) } }
      Element.prototype.attachShadow = function () { return this.shadowy = new ShadowyRoot(this) };
      Object.defineProperty(Element.prototype, "shadowRoot", { get() { return this.shadowy || null } });
      window.ShadowRoot = ShadowyRoot""",
    "closed roots": """
      const attach = Element.prototype.attachShadow;
      Element.prototype.attachShadow = function () { return window.root = attach.call(this, { mode: "closed" }) }""",
    "promises": """
      const Native = Promise;
      window.Promise = class Polyfilled {
        constructor(work) { this.native = new Native(work) }
        then(done, failed) { return new Polyfilled((yes, no) => this.native.then(done, failed).then(yes, no)) }
        catch(failed) { return this.then(undefined, failed) }
        static resolve(value) { return new Polyfilled(yes => yes(value)) } };
      delete Native.prototype.finally; delete Native.any; delete Native.allSettled;
      const ask = fetch; window.fetch = (...given) => new Promise((yes, no) => ask(...given).then(yes, no))""",
    "elements": """
      const Native = HTMLElement;
      window.HTMLElement = function () { return Reflect.construct(Native, [], this.constructor) };
      HTMLElement.prototype = Native.prototype; Object.setPrototypeOf(HTMLElement, Native);
      const define = customElements.define;
      customElements.define = (name, type) => define.call(customElements, name, class extends type {})""",
}

# What a page does around the element. `next` waits for its next event.
STORY = """
const kinds = ["cbr-load", "cbr-error"], frame = document.body.appendChild(document.createElement("iframe"));
var subject = document.querySelector("cbr-rates"), busy = true, said;
const put = (where, what = subject) => where.body.appendChild(what), other = frame.contentDocument;
const next = () => new Promise(done => kinds.forEach(kind => subject.addEventListener(kind, done, { once: true })));
const loading = what => { const ask = fetch; fetch = (...given) => { fetch = ask; what(); return ask(...given) } };
(async () => { %s; said = 'done'; busy = false })()
"""
TO_THE_LINK = {
    "no style sheets": "delete window.CSSStyleSheet; await next()",
    "none may be adopted": "for (const one of [ShadowRoot, Document]) Object.defineProperty(one.prototype, "
    "'adoptedStyleSheets', { set() { throw Error('not here') } }); await next()",
    "a root that is taken": "subject.attachShadow({ mode: 'open' }).innerHTML = '<slot></slot>'; await next()",
    "a loader without an address": "Object.defineProperty(Document.prototype, 'currentScript', { get: () => null }); "
    "await next()",
}
TO_THE_ROWS = {
    "moved into a frame": "await next(); put(other); await next()",
    "moved into a frame and back": "await next(); put(other); await next(); put(document); await next()",
    "moved while loading": "loading(() => put(other)); await next()",
    "made in a frame": "const made = other.createElement('cbr-rates'); made.innerHTML = subject.innerHTML; "
    "put(other, made); subject.remove(); put(document, subject = made); await next()",
    "removed while loading": "loading(() => { subject.remove(); setTimeout(() => put(document), 50) }); await next()",
    "a copy": "await next(); const copy = subject.cloneNode(true); subject.replaceWith(copy); subject = copy; "
    "await next()",
}

# What a page does at each of 60 frames, about a second, and how many requests that may cost.
FRAMES = """
var busy = true, subject = document.querySelector("cbr-rates"), left = 60;
const instead = () => {
  const made = document.createElement("cbr-rates");
  made.innerHTML = subject.innerHTML;
  subject.replaceWith(made);
  return subject = made;
};
const each = () => { %s; --left ? requestAnimationFrame(each) : busy = false };
each()
"""
FLOODS = {
    **{f"refresh={minutes}": ("", 1) for minutes in ("35792", "0.00001", "NaN")},
    "every attribute": ("for (const name of ['codes', 'theme', 'refresh']) subject.setAttribute(name, left)", 1),
    "a new element": ("instead()", 1),
    "more elements": (
        "for (const half of 'ab') document.body.appendChild(subject.cloneNode(true)).setAttribute('unit', left + half)",
        100,
    ),
    "inserted again when it fails": ("if (left == 60) addEventListener('cbr-error', () => busy && instead())", 1),
    "changed when it fails": (
        "if (left == 60) addEventListener('cbr-error', () => subject.setAttribute('unit', left))",
        10,
    ),
}

COMPONENT = """
customElements.define("{name}", class extends HTMLElement {{ connectedCallback() {{
  const root = this.attachShadow({{ mode: "{mode}" }});
  root.innerHTML = `<slot></slot><div>{inside}</div>`;
  subject = subject || root.querySelector("cbr-rates");
}} }});"""

# Nodes of a hostile answer. They stand beside an honest cell.
RUNS = "javascript:pwned()"
HANDLERS = ("onmouseover", "ONCLICK", "onfocus", "oncontentvisibilityautostatechange")
ADDRESSES = (
    *(RUNS, f" {RUNS}", "java\nscript:pwned()", "JavaScript:pwned()", "data:text/html,x", "//evil.example/", "httpq"),
)
NODES: dict[str, object] = {
    "a script": ["script", [], "pwned()"],
    "a frame": ["iframe", ["srcdoc", "<script>parent.pwned()</script>", "src", "javascript:parent.pwned()"]],
    "a style": ["style", [], "*{display:none}"],
    **{f"a handler {name}": ["p", [name, "pwned()"], "x"] for name in HANDLERS},
    **{f"{name}={to!r}": ["a", [name, to], "x"] for name in ("href", "HREF", "xlink:href") for to in ADDRESSES},
    "a link that moves": [
        "svg",
        [],
        ["a", ["href", "https://x.example"], ["animate", ["attributeName", "href", "to", RUNS]]],
    ],
    "an attribute with a sign": ["p", ["class=x onclick", "pwned()"], "x"],
    "no tag": [None, [], "x"],
    "nothing": [],
    "text with tags": "<img src=x onerror=pwned()>",
    "a converter": [
        "cbr-converter",
        [
            "data",
            '{"rates":{"<img src=x onerror=pwned()>":["1",1,2]},"names":{},"words":{},"lang":"x","group":"","mark":""}',
        ],
    ],
}


def answers() -> dict[str, str]:
    """Whole answers with one of the nodes each, and some that are none."""
    cell = ["td", ["class", "cbr-value"], ["bdi", ["dir", "ltr"], "1.50"]]
    whole = {name: {"style": "", "content": ["table", [], ["tr", [], cell, node]]} for name, node in NODES.items()}
    deep = '["p", [], ' * 50_000 + "1" + "]" * 50_000
    return {
        **{name: json.dumps(document) for name, document in whole.items()},
        "deep": f'{{"style": "", "content": {deep}}}',
        "no content": "{}",
        "a list": "[]",
        "no JSON": "<html>",
        "empty": "",
        "no text": '{"style": "", "content": ["p", []]}',
    }
