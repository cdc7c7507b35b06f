// The builder with JavaScript: the server still writes the whole page; the script only fetches it sooner.
(() => {
"use strict";
const form = document.querySelector("form");
const all = (root, selector) => [...root.querySelectorAll(selector)];
const size = form.elements.height;
let measured = 0;
let open = location.hash.slice(1) || "code-element", turn = 0, timer, sized = new URLSearchParams(location.search).has("height");

const select = (result, id) => {
const panels = all(result, "[role=tabpanel]");
if (!panels.some(panel => panel.id === id)) id = panels[0].id;
open = id;
for (const panel of panels) panel.hidden = panel.id !== id;
for (const tab of all(result, "[role=tab]")) {
const chosen = tab.getAttribute("aria-controls") === id;
tab.setAttribute("aria-selected", chosen);
tab.tabIndex = chosen ? 0 : -1;
}
};

const tabs = result => {
const list = document.createElement("div"), box = result.querySelector(".tabs");
list.setAttribute("role", "tablist");
list.setAttribute("aria-label", result.getAttribute("aria-label"));
for (const panel of all(box, "section")) {
const tab = document.createElement("button");
tab.type = "button";
tab.textContent = panel.querySelector("h2").textContent;
tab.id = "tab-" + panel.id;
tab.setAttribute("role", "tab");
tab.setAttribute("aria-controls", panel.id);
tab.addEventListener("click", () => select(result, panel.id));
list.append(tab);
panel.setAttribute("role", "tabpanel");
panel.setAttribute("aria-labelledby", tab.id);
const copy = document.createElement("button");
copy.type = "button";
copy.textContent = result.dataset.copy;
copy.addEventListener("click", async () => {
const code = panel.querySelector("code");
try {
await navigator.clipboard.writeText(code.textContent);
copy.textContent = result.dataset.copied;
} catch {
// A page on plain http has no clipboard.
getSelection().selectAllChildren(code);
copy.textContent = result.dataset.selected;
}
setTimeout(() => { copy.textContent = result.dataset.copy; }, 2000);
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
select(result, open);
};

const search = () => {
const fields = new URLSearchParams(), lists = { codes: [], columns: [] };
for (const [name, value] of new FormData(form)) {
if (lists[name]) lists[name].push(value);
else if (value && (name !== "height" || sized)) fields.set(name, value);
}
for (const name in lists) if (lists[name].length) fields.set(name, lists[name].join(","));
return fields;
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

const update = async () => {
const mine = ++turn, fields = search(), asked = new URLSearchParams(fields);
if (measured) asked.set("height", measured);
const answer = await fetch("?" + asked);
const text = await answer.text();
if (!answer.ok || mine !== turn) return;
const page = new DOMParser().parseFromString(text, "text/html");
const result = page.getElementById("result");
const old = document.getElementById("result"), focused = document.activeElement.id;
// What is asked with a measured height is understood; the notices are about what was asked before.
if (measured) {
for (const notice of all(result, ".notice")) notice.remove();
result.prepend(...all(old, ".notice"));
}
old.replaceWith(result);
if (!measured) document.querySelector("nav").replaceWith(page.querySelector("nav"));
if (!sized && document.activeElement !== size) size.value = page.querySelector("[name=height]").value;
history.replaceState(null, "", "?" + fields);
tabs(result);
if (focused) document.getElementById(focused)?.focus();
measure(result);
};

// The height in the code is what the previews need. The address keeps only a height that its reader chose.
const measure = async result => {
const mine = turn, frames = all(result, ".grounds iframe");
await Promise.all(frames.map(frame => new Promise(done => {
if (frame.contentDocument?.readyState === "complete" && frame.contentWindow.location.href !== "about:blank") done();
else frame.addEventListener("load", done);
})));
const heights = frames.map(frame => frame.contentDocument?.body ? Math.ceil(frame.contentDocument.body.getBoundingClientRect().height) : 0);
const needed = Math.max(...heights);
if (mine !== turn || sized || !needed || needed === Number(size.value)) return;
measured = needed;
await update();
};

form.addEventListener("input", event => {
if (event.target.id === "find") return;
measured = 0;
if (event.target.name === "layout") return form.submit();
if (event.target === size) sized = size.value !== "";
arrows();
clearTimeout(timer);
timer = setTimeout(update, 200);
});
form.addEventListener("submit", event => {
event.preventDefault();
const line = event.submitter?.closest(".codes li");
if (line) {
line.parentNode.prepend(line);
arrows();
line.querySelector("input").focus();
}
clearTimeout(timer);
update();
});
const find = document.getElementById("find");
find.closest("p").hidden = false;
find.addEventListener("input", () => {
const wanted = find.value.trim().toLowerCase();
const lines = all(form, ".codes li");
for (const line of lines) line.hidden = !line.textContent.toLowerCase().includes(wanted);
document.getElementById("nothing").hidden = lines.some(line => !line.hidden);
});
tabs(document.getElementById("result"));
measure(document.getElementById("result"));
})();
