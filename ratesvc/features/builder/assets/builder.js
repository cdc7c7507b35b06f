// The builder with JavaScript: the server still writes the whole page; the script only fetches it sooner. The form's
// data-address is the short address of what it shows. A choice is a step back in the browser's history.
(() => {
"use strict";
const form = document.querySelector("form");
const all = (root, selector) => [...root.querySelectorAll(selector)];
const byId = id => document.getElementById(id);
let open = location.hash.slice(1), turn = 0, timer, typing;

const select = id => {
const panels = all(byId("code"), "[role=tabpanel]");
if (!panels.some(panel => panel.id === id)) id = panels[0].id;
for (const panel of panels) panel.hidden = panel.id !== id;
for (const tab of all(byId("code"), "[role=tab]")) {
const chosen = tab.getAttribute("aria-controls") === id;
tab.setAttribute("aria-selected", chosen);
tab.tabIndex = chosen ? 0 : -1;
}
};

const tabs = () => {
const list = document.createElement("div"), box = byId("code"), said = byId("result").dataset;
list.setAttribute("role", "tablist");
list.setAttribute("aria-label", byId("result").getAttribute("aria-label"));
for (const panel of all(box, "section")) {
const tab = document.createElement("button");
tab.type = "button";
tab.textContent = panel.querySelector("h2").textContent;
tab.id = "tab-" + panel.id;
tab.setAttribute("role", "tab");
tab.setAttribute("aria-controls", panel.id);
tab.addEventListener("click", () => select(open = panel.id));
list.append(tab);
panel.setAttribute("role", "tabpanel");
panel.setAttribute("aria-labelledby", tab.id);
const copy = document.createElement("button");
copy.type = "button";
copy.textContent = said.copy;
copy.addEventListener("click", async () => {
const code = panel.querySelector("code");
try {
await navigator.clipboard.writeText(code.textContent);
copy.textContent = said.copied;
} catch {
// A page on plain http has no clipboard.
getSelection().selectAllChildren(code);
copy.textContent = said.selected;
}
setTimeout(() => { copy.textContent = said.copy; }, 2000);
});
panel.append(copy);
}
list.addEventListener("keydown", event => {
const step = { ArrowRight: 1, ArrowLeft: -1, Home: -99, End: 99 }[event.key];
if (!step) return;
event.preventDefault();
const found = all(list, "[role=tab]"), at = found.indexOf(document.activeElement);
const next = Math.abs(step) > 1 ? (step > 0 ? found.length - 1 : 0) : (at + step + found.length) % found.length;
found[next].click();
found[next].focus();
});
box.prepend(list);
select(open);
};

// The arrows of the chosen currencies, except the first.
const arrows = () => {
let first = true;
for (const line of all(form, ".codes li")) {
const chosen = line.querySelector("input").checked;
line.querySelector("button").hidden = first || !chosen;
first &&= !chosen;
}
};

// The page at this address, or nothing if a later choice overtook it.
const fetched = async query => {
const mine = ++turn, answer = await fetch(query), text = await answer.text();
return answer.ok && mine === turn && new DOMParser().parseFromString(text, "text/html");
};

const replaced = (page, id) => {
const focused = document.activeElement.id;
byId(id).replaceWith(page.getElementById(id));
if (id === "code") tabs();
if (focused) byId(focused)?.focus();
};

// Another layout has other fields. What was touched keeps the focus.
const fields = (page, anew) => {
const shown = page.querySelector("form");
form.dataset.address = shown.dataset.address;
if (anew || form.elements.was.value !== shown.elements.was.value) {
const { name, value, id } = document.activeElement, opened = form.querySelector("details").open;
form.replaceChildren(...shown.childNodes);
form.querySelector("details").open ||= opened;
const same = all(form, "input, select, button").find(one => id ? one.id === id : one.name === name && (one.type === "text" || one.value === value));
if (name) same?.focus();
} else for (const name of ["width", "height"]) if (form.elements[name]) form.elements[name].placeholder = shown.elements[name].placeholder;
};

const show = async (query, anew) => {
const page = await fetched(query);
if (!page) return false;
fields(page, anew);
document.querySelector("nav").replaceWith(page.querySelector("nav"));
replaced(page, "preview");
replaced(page, "code");
measure();
return true;
};

// A choice is a step in the history, but the letters of one text are one step.
const update = async field => {
clearTimeout(timer);
const same = field && field === typing;
if (!await show("?" + new URLSearchParams(new FormData(form)))) return;
const address = "?" + form.dataset.address;
if (address === location.search) return;
history[same ? "replaceState" : "pushState"](null, "", address);
typing = field;
};

// The height in the code is what the previews need, unless somebody chose one. The address keeps no other.
const measure = async () => {
const mine = turn, frames = all(byId("preview"), "iframe"), size = form.elements.height;
if (!frames.length || size.value) return;
await Promise.all(frames.map(frame => new Promise(done => {
if (frame.contentDocument?.readyState === "complete" && frame.contentWindow.location.href !== "about:blank") done();
else frame.addEventListener("load", done);
})));
if (mine !== turn) return;
const needed = Math.max(...frames.map(frame => frame.contentDocument?.body ? Math.ceil(frame.contentDocument.body.getBoundingClientRect().height) : 0));
if (!needed || needed === Number(size.placeholder)) return;
const page = await fetched(`?${form.dataset.address}&height=${needed}`);
if (!page) return;
for (const frame of frames) frame.height = needed;
size.placeholder = needed;
replaced(page, "code");
};

const search = () => {
const wanted = byId("find").value.trim().toLowerCase(), lines = all(form, ".codes li");
for (const line of lines) line.hidden = !line.textContent.toLowerCase().includes(wanted);
byId("nothing").hidden = lines.some(line => !line.hidden);
};

form.addEventListener("input", ({ target }) => {
if (target.id === "find") return search();
if (target.name === "own") form.elements.heading.value = target.value ? "own" : "";
if (target.name === "ground") form.elements.theme.value = "own";
if (target.name === "heading" && target.value !== "own") form.elements.own.value = "";
arrows();
clearTimeout(timer);
const is_typed = /^(text|url|number|color)$/.test(target.type);
timer = setTimeout(update, is_typed ? 200 : 0, is_typed ? target : undefined);
});
form.addEventListener("submit", event => {
event.preventDefault();
const line = event.submitter?.closest(".codes li");
if (line) {
line.parentNode.prepend(line);
arrows();
line.querySelector("input").focus();
}
update();
});
addEventListener("popstate", () => {
clearTimeout(timer);
typing = undefined;
show(location.search || "?", true);
});
document.documentElement.className = "live";
tabs();
measure();
})();
