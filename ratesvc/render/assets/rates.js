// <cbr-rates>: the Bank of Russia's rates, as this service formatted them. MIT licence.
// createElement, adoptedStyleSheets and CSSOM only: it works under style-src 'self' and Trusted Types.
// The shadow root comes after valid rows, so that the link inside the element survives every failure.
(() => {
const base = document.currentScript.src.replace(/(.*\/widget\/).*/, "$1rows.json?style=inline");
const known = "height refresh code codes columns converter date decimals head heading href lang layout pending spark symbols theme unit updown".split(" "), jobs = {};
// An element whose class and part have the same words; empty texts are left out.
const make = (tag, kinds, more, ...inner) => {
const made = document.createElementNS("http://www.w3.org/" + (/svg|pol/.test(tag) ? "2000/svg" : "1999/xhtml"), tag);
if (kinds) more = { class: kinds.replace(/\S+/g, "cbr-$&"), part: kinds, ...more };
for (const name in more) more[name] && made.setAttribute(name, more[name]);
made.append(...inner.flat(5).filter(one => one));
return made;
};
const link = (href, ...inner) => href ? make("a", 0, { href }, inner) : inner;
// Equal elements share a request. Its answer is forgotten after a minute, because a page may stay open for days.
const fetched = url => jobs[url] ||= fetch(url, { credentials: "omit", signal: AbortSignal.timeout(9e3) }).then(answer => answer.ok ? answer.json() : Promise.reject(answer.status)).finally(() => setTimeout(() => delete jobs[url], 6e4));
const table = (all, look) => {
const lang = all.words_lang, [first] = all.rows[0].cells, inline = all.layout == "inline";
const head = ({ date, kind, label, text }) => make("th", "head " + kind, { lang: !date && lang, scope: "col" },
label && make("span", "when", 0, label), make(date ? "time" : "span", 0, { datetime: date }, text));
const cell = (row, { kind }, text) => make("td", kind, 0, kind == "trend"
? row.points && make("svg", 0, { role: "img", "aria-label": text, viewBox: "0 0 60 18" }, make("polyline", 0, { points: row.points }))
: [kind == "change" && row.words && [make("span", "mark", { "aria-hidden": true }, row.mark), " ", make("span", "words", { lang }, row.words), " "], make("bdi", 0, { dir: "ltr" }, text)]);
return make("span", "rates " + (all.layout || "") + " " + look, { lang: all.lang, dir: all.dir, title: inline && all.title }, inline ? link(all.href, first) : [
make("table", 0, 0,
make("caption", all.titled ? "title" : "title words", { lang: all.title_lang }, link(all.href, all.title), all.badge && [" ", make("span", "badge", 0, all.badge)]),
make("thead", all.headless && "words", 0, make("tr", 0, 0, all.columns.map(head))),
make("tbody", 0, 0, all.rows.map(row => make("tr", row.move, 0,
make("th", 0, { scope: "row" }, link(row.href, make("bdi", "code", { dir: "ltr" }, row.unit), row.name && make("span", "label", 0, row.name))),
row.cells.map((text, at) => cell(row, all.columns[at + 1], text)))))),
make("p", "note", 0, all.note && [make("strong", 0, { lang }, all.note), " "], make("a", 0, { href: all.source_url, target: "_blank" }, "cbr.ru"))]);
};
customElements.get("cbr-rates") || customElements.define("cbr-rates", class extends HTMLElement {
static observedAttributes = known;
connectedCallback() {
this.attributeChangedCallback();
}
attributeChangedCallback() {
clearTimeout(this.due);
this.due = setTimeout(() => this.isConnected && this.show());
}
disconnectedCallback() {
this.attributeChangedCallback();
}
async show() {
const of = name => this.getAttribute(name) || "";
let url = base;
for (const name of known.slice(2)) {
const text = name == "lang" ? this.closest("[lang]")?.lang : of(name);
if (text) url += "&" + name + "=" + encodeURIComponent(text);
}
this.url = url;
this.style.height = of("height") + "px";
clearTimeout(this.due);
if (of("refresh") > 0) this.due = setInterval(() => document.hidden || this.show(), Math.max(of("refresh"), 5) * 6e4);
let detail, made, state = "error";
try {
made = table(detail = await fetched(url), of("theme") + " " + of("updown"));
state = "load";
} catch (error) {
delete jobs[url];
detail = error;
}
if (url != this.url) return;
if (made) {
const root = this.shadowRoot || this.attachShadow({ mode: "open" }), sheet = new CSSStyleSheet();
sheet.replaceSync(detail.style);
root.adoptedStyleSheets = [sheet];
root.replaceChildren(made);
this.shown = url;
// An answer to an earlier request is ignored.
} else if (url != this.shown) this.shadowRoot?.replaceChildren(make("slot"));
this.setAttribute("state", state);
this.dispatchEvent(new CustomEvent("cbr-" + state, { bubbles: true, detail }));
}
});
})();
