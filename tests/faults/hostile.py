"""What host pages do to the element in row E13: names in HTML, polluted objects, replaced methods, libraries, moves.

Each attack is a name and a script, or a part of one; host_pages.py puts it into a page.
"""

from __future__ import annotations

import json

# What our scripts, or others that one might think of, ask of a document, and of the window.
NAMES = (
    *("currentScript", "createElementNS", "createElement", "createTextNode", "defaultView", "hidden", "querySelector"),
    *("querySelectorAll", "getElementById", "body", "head", "documentElement", "host", "parentNode", "ownerDocument"),
    *("getRootNode", "nodeType", "adoptedStyleSheets", "adoptNode", "importNode", "baseURI", "URL", "location", "lang"),
    *("dir", "title", "cookie", "implementation", "addEventListener", "dispatchEvent", "constructor", "isConnected"),
)
GLOBALS = (
    *("fetch", "customElements", "CSSStyleSheet", "HTMLElement", "Reflect", "ShadowRoot", "Document", "AbortSignal"),
    *("CustomEvent", "Promise", "document", "window", "self", "name", "script", "built", "table", "cbr", "Math"),
)
NAMED = {
    "img": '<img name="{name}" id="{name}" src="{evil}">',
    "form": '<form name="{name}" action="{evil}"></form>',
    "two forms": '<form name="{name}" lang="de"></form><form name="{name}" lang="fr"></form>',
    "embed": '<embed name="{name}" type="text/plain">',
    "object": '<object name="{name}" id="{name}"></object>',
    "iframe": '<iframe name="{name}" id="{name}" hidden></iframe>',
    "link": '<a id="{name}" name="{name}" href="{evil}"></a>',
}
"""Elements that a document knows by their names; a site that cleans comments may let them through."""
FIELDS = ("lang", "getAttribute", "closest", "attributes", "parentNode", "host", "shadowRoot", "nodeType")

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

# What the loader asks of its page, or asked once, and what a replaced method or getter does instead.
MEMBERS = (
    *("Array.prototype.flat", "Array.prototype.filter", "Array.prototype.map", "Array.prototype.forEach"),
    *(
        "Array.prototype.slice",
        "Array.prototype[Symbol.iterator]",
        "String.prototype.replace",
        "String.prototype.split",
    ),
    *("String.prototype.replaceAll", "RegExp.prototype.test", "RegExp.prototype.exec", "RegExp.prototype.global"),
    *("Promise.prototype.then", "Promise.prototype.catch", "Promise.prototype.finally", "Response.prototype.json"),
    *("Response.prototype.ok", "Object.keys", "Reflect.get", "Function.prototype.call", "Function.prototype.apply"),
    *("Element.prototype.attachShadow", "Element.prototype.setAttribute", "Element.prototype.getAttribute"),
    *("Element.prototype.append", "Element.prototype.closest", "Element.prototype.shadowRoot"),
    *("Node.prototype.appendChild", "Node.prototype.textContent", "Node.prototype.getRootNode"),
    *("HTMLElement.prototype.attachInternals", "ElementInternals.prototype.states"),
    *("Node.prototype.ownerDocument", "DocumentFragment.prototype.replaceChildren", "HTMLElement.prototype.style"),
    *("ShadowRoot.prototype.adoptedStyleSheets", "CSSStyleSheet.prototype.replaceSync", "AbortSignal.timeout"),
    *("Document.prototype.createElementNS", "Document.prototype.createTextNode", "Document.prototype.defaultView"),
    *("Document.prototype.currentScript", "HTMLScriptElement.prototype.src", "EventTarget.prototype.dispatchEvent"),
    *("window.fetch", "window.encodeURIComponent", "window.CSSStyleSheet", "window.CustomEvent", "window.setTimeout"),
    *("window.clearTimeout", "window.ShadowRoot", "window.Reflect", "Math.max"),
    *("CustomElementRegistry.prototype.define", "CustomElementRegistry.prototype.get"),
)
BEHAVIOURS = (
    *("function () { return this }", "function () {}", "function () { return '' }", "function () { return [] }"),
    *("function () { throw Error('hostile') }", "function () { return new Promise(() => {}) }", "() => ({})"),
)


def replacing(member: str, behaviour: str) -> str:
    """A script that puts this function, or getter, in the place of a member, and says that it did."""
    holder, key = member.rsplit(".", 1)
    if member.endswith("]"):
        holder, key = "Array.prototype", "Symbol.iterator"
    else:
        key = json.dumps(key)
    new = f"'value' in old ? {{ value: {behaviour} }} : {{ get: {behaviour}, set() {{}} }}"
    return f"""const old = Object.getOwnPropertyDescriptor({holder}, {key}), put = Object.defineProperty;
        said = put({holder}, {key}, {new}) && 1"""


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
    "open roots": """
      const attach = Element.prototype.attachShadow;
      Element.prototype.attachShadow = function (init) { return attach.call(this, { ...init, mode: "open" }) }""",
    "promises": """
      const Native = Promise;
      window.Promise = class Polyfilled {
        constructor(work) { this.native = new Native(work) }
        then(done, failed) { return new Polyfilled((yes, no) => this.native.then(done, failed).then(yes, no)) }
        catch(failed) { return this.then(undefined, failed) }
        static resolve(value) { return new Polyfilled(yes => yes(value)) } };
      delete Native.prototype.finally; delete Native.any; delete Native.allSettled;
      const ask = fetch; window.fetch = (...given) => new Promise((yes, no) => ask(...given).then(yes, no))""",
    "patched promises": """
      const then = Promise.prototype.then;
      Promise.prototype.then = function (done, failed) {
        return then.call(this, done && (value => { window.zone = {}; return done(value) }), failed) }""",
    "elements": """
      const Native = HTMLElement;
      window.HTMLElement = function () { return Reflect.construct(Native, [], this.constructor) };
      HTMLElement.prototype = Native.prototype; Object.setPrototypeOf(HTMLElement, Native);
      const define = customElements.define;
      customElements.define = (name, type) => define.call(customElements, name, class extends type {})""",
    "measured requests": """
      const ask = fetch;
      window.fetch = async (address, options = {}) => {
        const answer = await ask(address, { ...options, headers: {} });
        answer.clone().text();
        return new Proxy(answer, { get: (real, name) => {
          const is = real[name];
          return is && is.bind ? is.bind(real) : is } }) }""",
    "frozen": """
      for (const name of Object.getOwnPropertyNames(window)) {
        const one = /^[A-Z]/.test(name) && window[name];
        if (typeof one == "function") { Object.freeze(one); one.prototype && Object.freeze(one.prototype) } }
      Object.freeze(Reflect); Object.freeze(JSON); Object.freeze(Math)""",
    "listeners": """
      var busy = true;
      addEventListener("cbr-load", ({ target, detail }) => {
        if (detail) { detail.content[0] = "script"; detail.style = "*{display:none}" }
        document.body.append(target);
        addEventListener("cbr-load", () => busy = false);
      }, { once: true })""",
    "watchers": """
      addEventListener("cbr-load", ({ target }) =>
        target.setAttribute("theme", target.getAttribute("theme") == "dark" ? "light" : "dark"))""",
    "cleaners": """
      new MutationObserver(() => { for (const one of document.querySelectorAll("cbr-rates"))
        for (const { name } of [...one.attributes]) if (name != "lang") one.removeAttribute(name) })
        .observe(document, { attributes: true, childList: true, subtree: true })""",
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
    "style sheets of a polyfill": "window.CSSStyleSheet = class { replaceSync() {} }; await next()",
    "none may be adopted": "for (const one of [ShadowRoot, Document]) Object.defineProperty(one.prototype, "
    "'adoptedStyleSheets', { set() { throw Error('not here') } }); await next()",
    "no shadow roots": "Element.prototype.attachShadow = undefined; await next()",
    "a root that is taken": "subject.attachShadow({ mode: 'open' }).innerHTML = '<slot></slot>'; await next()",
    "half a character": "subject.setAttribute('heading', '\\ud800'); await next()",
    "a huge heading": "subject.setAttribute('heading', 'x'.repeat(1e5)); await next()",
    "a loader without an address": "Object.defineProperty(Document.prototype, 'currentScript', { get: () => null }); "
    "await next()",
}
TO_THE_ROWS = {
    "moved into a frame": "await next(); put(other); await next()",
    "moved into a frame and back": "await next(); put(other); await next(); put(document); await next()",
    "moved while loading": "loading(() => put(other)); await next()",
    "made in a frame": "const made = other.createElement('cbr-rates'); made.innerHTML = subject.innerHTML; "
    "put(other, made); subject.remove(); put(document, subject = made); await next()",
    "its frame goes": "await next(); put(other); frame.remove(); put(document); await next()",
    "a document without a window": "await next(); put(document.implementation.createHTMLDocument('')); "
    "await next(); put(document); await next()",
    "removed while loading": "loading(() => { subject.remove(); setTimeout(() => put(document), 50) }); await next()",
    "written anew": "await next(); document.body.innerHTML = document.body.innerHTML; "
    "subject = document.querySelector('cbr-rates'); await next()",
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
    **{f"refresh={minutes}": ("", 1) for minutes in ("35792", "71583", "1e999", "0.00001", "-1", "NaN")},
    "another heading": ("subject.setAttribute('heading', left)", 1),
    "another height": ("subject.setAttribute('height', 100 + left)", 1),
    "every attribute": ("for (const name of ['codes', 'theme', 'refresh']) subject.setAttribute(name, left)", 1),
    "moved": ("document.body.prepend(subject)", 1),
    "removed and inserted": ("left % 2 ? document.body.prepend(subject) : subject.remove()", 1),
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
    *(RUNS, f" {RUNS}", "java\nscript:pwned()", "JavaScript:pwned()", f"\x01{RUNS}", "data:text/html,x", "vbscript:x"),
    *("blob:x", "//evil.example/", "", "httpq", "h", "httr:x"),
)
NODES: dict[str, object] = {
    "a script": ["script", [], "pwned()"],
    "a script of SVG": ["svg", [], ["script", [], "pwned()"]],
    "a frame": ["iframe", ["srcdoc", "<script>parent.pwned()</script>", "src", "javascript:parent.pwned()"]],
    "a picture": ["img", ["src", "x", "onerror", "pwned()"]],
    "an object": ["object", ["data", RUNS]],
    "a base": ["base", ["href", "//evil.example/"]],
    "a style": ["style", [], "*{display:none}"],
    "a form": ["form", ["action", RUNS], ["input", ["autofocus", "1", "onfocus", "pwned()"]]],
    "a template": ["template", ["shadowrootmode", "open"], "x"],
    **{f"a handler {name}": ["p", [name, "pwned()"], "x"] for name in HANDLERS},
    **{f"{name}={to!r}": ["a", [name, to], "x"] for name in ("href", "HREF", "xlink:href") for to in ADDRESSES},
    "a link in a list": ["a", [["href"], [RUNS]], "x"],
    "a link that is an object": ["a", ["href", {"toString": RUNS}], "x"],
    "a link that moves": [
        "svg",
        [],
        ["a", ["href", "https://x.example"], ["animate", ["attributeName", "href", "to", RUNS]]],
    ],
    "an attribute with a sign": ["p", ["class=x onclick", "pwned()"], "x"],
    "a style attribute": ["p", ["style", "position:fixed;inset:0"], "x"],
    "other attributes": ["p", ["is", "evil-p", "id", "x", "name", "y", "slot", "z"], "x"],
    "a tag with a sign": ["p onclick=pwned()", [], "x"],
    "no tag": [None, [], "x"],
    "a number": 1,
    "null": None,
    "nothing": [],
    "no attributes": ["p"],
    "an attribute without a value": ["p", ["class"], "x"],
    "an object for a node": {"0": "script", "1": [], "2": "pwned()", "length": 3},
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
