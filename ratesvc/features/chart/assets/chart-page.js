// The chart of /chart under a pointer and by keyboard. What it says are texts of the page's own table, digit for digit;
// as numbers they only place a dot. The slider has the keys, and screen readers read its value.
(() => {
"use strict";
const plot = document.querySelector(".plot"), cursor = plot.querySelector(".cursor"), tip = plot.querySelector(".tip");
const slider = plot.querySelector("input"), dots = [...cursor.children], lines = [...tip.children].slice(1);
const strange = new RegExp(`[^0-9${plot.dataset.mark}]`, "g");
const number = text => parseFloat(text.replace(strange, "").replace(plot.dataset.mark, "."));
// The oldest first, as time runs.
const rows = [...document.querySelectorAll("tbody tr")].reverse().map(row => {
const [when, ...cells] = [...row.cells].map(cell => cell.textContent);
return { day: Date.parse(row.querySelector("time").dateTime) / 864e5, when, cells };
});
if (!rows.length) return;
const first = rows[0].day, span = rows[rows.length - 1].day - first, codes = lines.map(line => line.firstChild.textContent);
const bases = codes.map((_, at) => number(rows.find(row => number(row.cells[at]) > 0)?.cells[at] || ""));
// The edges of the lines in the picture that is shown, in parts of it, and the levels at its lower and upper edge.
const edges = () => {
const one = [...plot.querySelectorAll("source, img")].find(one => !one.media || matchMedia(one.media).matches);
const [left, right, top, bottom, low, high] = one.dataset.plot.split(" ").map(Number);
const wide = one.getAttribute("width"), tall = one.getAttribute("height");
return { left: left / wide, right: right / wide, top: top / tall, bottom: bottom / tall, low, high };
};
const per = part => `${part * 100}%`;

const show = at => {
const { left, right, top, bottom, low, high } = edges(), { day, when, cells } = rows[at];
const place = span ? left + (day - first) / span * (right - left) : (left + right) / 2;
const depths = cells.map((text, one) => {
const level = number(text);
return (high - ("indexed" in plot.dataset ? level / bases[one] * 100 : level)) / (high - low);
});
cursor.style.left = per(place);
cursor.style.top = per(top);
cursor.style.height = per(bottom - top);
tip.firstChild.textContent = when;
depths.forEach((depth, one) => {
dots[one].hidden = lines[one].hidden = isNaN(depth);
dots[one].style.top = per(depth);
lines[one].lastChild.textContent = cells[one];
lines[one].style.order = isNaN(depth) ? 0 : Math.round(depth * 1e4);
});
slider.value = at;
slider.setAttribute("aria-valuetext", [when, ...codes.map((code, one) => `${code} ${cells[one]}`)].join(", "));
cursor.hidden = tip.hidden = false;
// Beside the line, on the side with more space, and never over the title or the labels of the lines.
const wide = plot.clientWidth, own = tip.offsetWidth, x = place * wide;
tip.style.top = per(top);
tip.style.left = `${Math.max(4, Math.min(2 * x > wide ? x - own - 10 : x + 10, wide * right - own))}px`;
};
const hide = () => { cursor.hidden = tip.hidden = true; };
const point = event => {
const box = plot.getBoundingClientRect(), { left, right } = edges();
const day = first + ((event.clientX - box.left) / box.width - left) / (right - left) * span;
show(rows.reduce((best, row, at) => Math.abs(row.day - day) < Math.abs(rows[best].day - day) ? at : best, 0));
};

slider.max = slider.value = rows.length - 1;
slider.hidden = false;
slider.addEventListener("input", () => show(Number(slider.value)));
slider.addEventListener("focus", () => show(Number(slider.value)));
slider.addEventListener("blur", hide);
plot.addEventListener("pointerdown", point);
plot.addEventListener("pointermove", point);
// A finger that is lifted leaves the figures there.
plot.addEventListener("pointerleave", event => {
if (event.pointerType == "mouse" && document.activeElement != slider) hide();
});
// The code for other pages, with the chosen background and size.
const form = document.querySelector(".embed form"), code = document.querySelector(".embed code");
if (form) {
const [ground, size, button] = form.elements;
form.hidden = false;
form.addEventListener("input", () => {
const [width, height] = size.value.split(" "), theme = ground.value && `&amp;theme=${ground.value}`;
code.textContent = code.textContent.replace(/(&amp;theme=\w+)?" width="\d+" height="\d+"/, `${theme}" width="${width}" height="${height}"`);
});
form.addEventListener("submit", async event => {
event.preventDefault();
try {
await navigator.clipboard.writeText(code.textContent);
button.textContent = button.dataset.copied;
} catch {
// A page on plain http has no clipboard.
getSelection().selectAllChildren(code);
}
});
}
addEventListener("resize", () => cursor.hidden || show(Number(slider.value)));
})();
