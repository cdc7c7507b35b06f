// The chart of /chart under a pointer and by keyboard. What it says are texts of the page's own table, digit for digit;
// as numbers they only place a dot. The slider has the keys, and screen readers read its value.
(() => {
  "use strict";
  const plot = document.querySelector(".plot"),
    area = plot.querySelector(".area");
  if (!area) return;
  let cursor = area.querySelector(".cursor"),
    tip = area.querySelector(".tip");
  const slider = plot.querySelector("input"),
    lines = () => [...tip.children].slice(1);
  const strange = new RegExp(`[^0-9${plot.dataset.mark}]`, "g");
  const number = (text) => parseFloat(text.replace(strange, "").replace(plot.dataset.mark, "."));
  // The oldest first, as time runs.
  const rows = [...document.querySelectorAll("tbody tr")].reverse().map((row) => {
    const [when, ...cells] = [...row.cells].map((cell) => cell.textContent);
    return { day: Date.parse(row.querySelector("time").dateTime) / 864e5, when, cells };
  });
  if (!rows.length) return;
  const first = rows[0].day,
    span = rows[rows.length - 1].day - first,
    codes = lines().map((line) => line.firstChild.textContent);
  const bases = codes.map((_, at) => number(rows.find((row) => number(row.cells[at]) > 0)?.cells[at] || ""));
  const low = Number(plot.dataset.low),
    high = Number(plot.dataset.high);
  const per = (part) => `${part * 100}%`;
  // What moves counts as a layout shift, also of a page that frames the chart, and what is new does not.
  const anew = (node) => {
    const fresh = node.cloneNode(true);
    node.replaceWith(fresh);
    return fresh;
  };

  const show = (at) => {
    const { day, when, cells } = rows[at],
      place = span ? (day - first) / span : 0.5;
    const depths = cells.map((text, one) => {
      const level = number(text);
      return (high - ("indexed" in plot.dataset ? (level / bases[one]) * 100 : level)) / (high - low);
    });
    cursor = anew(cursor);
    tip = anew(tip);
    const dots = cursor.children,
      texts = lines();
    cursor.style.left = per(place);
    tip.firstChild.textContent = when;
    depths.forEach((depth, one) => {
      dots[one].hidden = texts[one].hidden = isNaN(depth);
      dots[one].style.top = per(depth);
      texts[one].lastChild.textContent = cells[one];
      texts[one].style.order = isNaN(depth) ? 0 : Math.round(depth * 1e4);
    });
    slider.value = at;
    slider.setAttribute("aria-valuetext", [when, ...codes.map((code, one) => `${code} ${cells[one]}`)].join(", "));
    cursor.hidden = tip.hidden = false;
    // Beside the line, on the side with more space, and never over the labels of the lines.
    const wide = area.clientWidth,
      own = tip.offsetWidth,
      x = place * wide;
    tip.style.left = `${Math.min(2 * x > wide ? x - own - 10 : x + 10, wide - own)}px`;
  };
  const hide = () => {
    cursor.hidden = tip.hidden = true;
  };
  const point = (event) => {
    const box = area.getBoundingClientRect(),
      day = first + ((event.clientX - box.left) / box.width) * span;
    show(rows.reduce((best, row, at) => (Math.abs(row.day - day) < Math.abs(rows[best].day - day) ? at : best), 0));
  };

  slider.max = slider.value = rows.length - 1;
  slider.hidden = false;
  slider.addEventListener("input", () => show(Number(slider.value)));
  slider.addEventListener("focus", () => show(Number(slider.value)));
  slider.addEventListener("blur", hide);
  plot.addEventListener("pointerdown", point);
  plot.addEventListener("pointermove", point);
  // A finger that is lifted leaves the figures there.
  plot.addEventListener("pointerleave", (event) => {
    if (event.pointerType == "mouse" && document.activeElement != slider) hide();
  });
  // The code for other pages, with the chosen background and size.
  const form = document.querySelector(".embed form"),
    code = document.querySelector(".embed code");
  if (form) {
    const [ground, size, button] = form.elements;
    form.hidden = false;
    form.addEventListener("input", () => {
      const theme = ground.value && `&amp;theme=${ground.value}`;
      code.textContent = code.textContent.replace(/(&amp;theme=\w+)?" width="\d+"/, `${theme}" width="${size.value}"`);
    });
    form.addEventListener("submit", async (event) => {
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
