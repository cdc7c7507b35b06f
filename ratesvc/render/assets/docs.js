// The search of /docs by address. Without JavaScript the list of contents leads to every address.
(() => {
"use strict";
const search = document.getElementById("search"), find = search.querySelector("input"), nothing = search.querySelector("output");
const entries = [...document.querySelectorAll("nav li:not(:has(li)), article")];
const groups = document.querySelectorAll("nav li:has(li), section");
find.addEventListener("input", () => {
const words = find.value.toLowerCase().split(/\s+/);
for (const entry of entries) {
const name = (entry.querySelector("h3") || entry).textContent.toLowerCase();
entry.hidden = !words.every(word => name.includes(word));
}
for (const group of groups) group.hidden = !group.querySelector(":is(li, article):not([hidden])");
nothing.value = entries.every(entry => entry.hidden) ? nothing.dataset.nothing : "";
});
find.addEventListener("keydown", event => {
const first = document.querySelector("nav li li:not([hidden]) a");
if (event.key === "Enter" && first) first.click();
});
search.hidden = false;
})();
