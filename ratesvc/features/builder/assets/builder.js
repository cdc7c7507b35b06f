// The builder with JavaScript: the server still writes the whole page; the script only fetches it sooner. The form's
// data-address is the short address of what it shows. A choice is a step back in the browser's history.
(() => {
  "use strict";
  const form = document.querySelector("form");
  const all = (root, selector) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  let open = location.hash.slice(1),
    turn = 0,
    drawn = 0,
    // The room of the first preview: that of its rows, and of what stands around them.
    held = Number(form.elements.height?.placeholder || 0) + 90,
    timer,
    typing,
    width,
    dragged;

  const panels = () => all(byId("code"), "[role=tabpanel]");
  // The open panel that has code, which a group of panels has not.
  const openPanel = () => panels().find((one) => !one.hidden && one.matches("section"));

  const select = (id) => {
    const found = panels().find((one) => one.id === id) || panels()[0];
    const chosen = found.matches("section") ? found : found.querySelector("section");
    for (const panel of panels()) panel.hidden = !panel.contains(chosen);
    for (const tab of all(byId("code"), "[role=tab]")) {
      const isOpen = !byId(tab.getAttribute("aria-controls")).hidden;
      tab.setAttribute("aria-selected", isOpen);
      tab.tabIndex = isOpen ? 0 : -1;
    }
    // Of a group that is not open, the first tab can be reached once it is.
    for (const list of all(byId("code"), ".group [role=tablist]"))
      if (!list.querySelector("[aria-selected=true]")) list.querySelector("[role=tab]").tabIndex = 0;
    // A frame and a picture cannot see the page around them.
    for (const one of all(form, "[name=theme][value=inherit]"))
      one.disabled = /frame|wordpress|picture|letter/.test(chosen.id);
  };

  // The headings of the panels in this box as tabs; a group of panels has tabs of its own.
  const tabs = (box) => {
    const list = document.createElement("div"),
      said = byId("result").dataset;
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", box.querySelector(":scope > h2")?.textContent || byId("result").ariaLabel);
    for (const panel of all(box, ":scope > section, :scope > .group")) {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.textContent = panel.querySelector("h2").textContent;
      tab.id = "tab-" + panel.id;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", panel.id);
      tab.addEventListener("click", () => {
        select(panel.id);
        open = openPanel().id;
        preview();
      });
      list.append(tab);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      if (panel.matches(".group")) {
        tabs(panel);
        continue;
      }
      const copy = document.createElement("button");
      copy.type = "button";
      copy.className = "main copy";
      copy.textContent = said.copy;
      panel.prepend(copy);
    }
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -99, End: 99 }[event.key];
      if (!step) return;
      event.preventDefault();
      const found = all(list, "[role=tab]"),
        at = found.indexOf(document.activeElement);
      const next = Math.abs(step) > 1 ? (step > 0 ? found.length - 1 : 0) : (at + step + found.length) % found.length;
      found[next].click();
      found[next].focus();
    });
    box.prepend(list);
  };

  // The code of the open tab; one of the buttons is always at hand, beside the preview.
  const copied = async (copy) => {
    const code = openPanel().querySelector("code"),
      said = byId("result").dataset;
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = said.copied;
    } catch {
      // A page on plain http has no clipboard.
      getSelection().selectAllChildren(code);
      copy.textContent = said.selected;
    }
    setTimeout(() => {
      copy.textContent = said.copy;
    }, 2000);
  };

  // The list of currencies is one stop of the Tab key. Arrows go through it, and with Alt they move what is chosen.
  const lines = () => all(form, ".codes li");
  const boxOf = (line) => line.querySelector("input");
  const chosen = () => lines().filter((line) => boxOf(line).checked);
  const stopAt = (line) => {
    for (const one of lines()) boxOf(one).tabIndex = one === line ? 0 : -1;
  };
  const arranged = () => {
    const ones = chosen();
    for (const line of lines()) {
      const grip = line.querySelector("button");
      grip.hidden = ones.length < 2 || !ones.includes(line);
      grip.tabIndex = -1;
    }
    if (!lines().some((line) => boxOf(line).tabIndex === 0 && !line.hidden))
      stopAt(lines().find((line) => !line.hidden));
  };
  // To the place of another line. The others move around it, so it keeps the focus and the pointer.
  const moved = (line, to) => {
    const every = lines(),
      at = every.indexOf(line),
      end = every.indexOf(to);
    if (end < at) line.after(...every.slice(end, at));
    else line.before(...every.slice(at + 1, end + 1));
  };

  // A choice overtakes what waits and what is asked for, at once: an answer may come before the timer of a choice.
  const overtake = () => {
    clearTimeout(timer);
    return ++turn;
  };

  // The page at this address, or nothing if a later choice overtook it.
  const fetched = async (query) => {
    const mine = overtake(),
      answer = await fetch(query),
      text = await answer.text();
    return answer.ok && mine === turn && new DOMParser().parseFromString(text, "text/html");
  };

  const replaced = (page, id) => {
    const focused = document.activeElement.id;
    all(page, "noscript").forEach((one) => one.remove());
    byId(id).replaceWith(page.getElementById(id));
    if (id === "code") {
      tabs(byId(id));
      select(open);
    }
    if (focused) byId(focused)?.focus();
  };

  // Another layout has other fields. What was touched keeps the focus.
  const fields = (page, anew) => {
    const shown = page.querySelector("form");
    form.dataset.address = shown.dataset.address;
    if (anew || form.elements.was.value !== shown.elements.was.value) {
      const { name, value, id } = document.activeElement,
        opened = all(form, "details").map((one) => one.open);
      form.replaceChildren(...shown.childNodes);
      all(form, "details").forEach((one, at) => (one.open ||= opened[at]));
      arranged();
      const same = all(form, "input, select, button, a").find((one) =>
        id ? one.id === id : one.name === name && (one.type === "text" || one.value === value),
      );
      if (name || id) same?.focus();
      return;
    }
    for (const name of ["width", "height"])
      if (form.elements[name]) form.elements[name].placeholder = shown.elements[name].placeholder;
    form.querySelector(".cards").replaceWith(shown.querySelector(".cards"));
  };

  const show = async (query, anew) => {
    byId("preview").setAttribute("aria-busy", "true");
    const mine = turn + 1,
      page = await fetched(query).catch(() => false);
    if (!page && mine === turn) {
      byId("preview").removeAttribute("aria-busy");
      byId("fits").textContent = byId("result").dataset.failed;
      byId("fits").hidden = false;
    }
    if (!page) return false;
    fields(page, anew);
    document.querySelector(".top").replaceWith(page.querySelector(".top"));
    replaced(page, "preview");
    replaced(page, "code");
    preview();
    return true;
  };

  // To a widget that is ready-made.
  const go = async (link) => {
    if (await show(link.search, true)) history.pushState(null, "", link.href);
  };

  // A choice is a step in the history, but the letters of one text are one step.
  const update = async (field) => {
    const same = field && field === typing;
    if (!(await show("?live=1&" + new URLSearchParams(new FormData(form))))) return;
    const address = "?" + form.dataset.address;
    if (address === location.search) return;
    history[same ? "replaceState" : "pushState"](null, "", address);
    typing = field;
  };

  // The preview draws the code of the open tab, or what a server makes of it, in a page of ours that is as wide as chosen.
  const framed = (code, ground, width, into) =>
    new Promise((done) => {
      const frame = document.createElement("iframe");
      // A frame that is out of sight loads at once, too.
      Object.assign(frame.dataset, { code: code.replace(' loading="lazy"', ""), ground });
      frame.title = byId("result").dataset[ground];
      frame.style.width = width ? width + "px" : "100%";
      // A page is at least as high as its window.
      frame.style.height = 0;
      frame.addEventListener("load", async () => {
        const page = frame.contentDocument,
          element = page?.querySelector("cbr-rates");
        if (element && !element.matches(":state(load),:state(error)"))
          await new Promise((shown) => {
            for (const name of ["cbr-load", "cbr-error"]) page.addEventListener(name, shown);
            setTimeout(shown, 9500);
          });
        if (page) frame.style.height = page.documentElement.scrollHeight + "px";
        done(frame);
      });
      frame.src = "widget/preview";
      into.append(frame);
    });

  const isBar = () => form.elements.layout.value === "bar",
    hosted = () => form.elements.heading?.value === "own" || /^[^{]+$/.test(form.elements.href?.value || "");
  // The pixels that the rows in this frame need, those of the element or of the frame inside, and those of their padding.
  // The width of its heading and the number of its rows. The heading has one more word in the evening. Once its rates are
  // old, a note says so, which with heads is no higher than what it replaces; and no frame can grow.
  const needed = (frame) => {
    const page = frame.contentDocument,
      inner = page?.querySelector("iframe"),
      said = document.querySelector(".grounds.scripted").dataset;
    const box = inner
      ? inner.contentDocument?.querySelector("main")
      : page?.querySelector("cbr-rates")?.shadowRoot?.querySelector(".cbr-rates");
    if (!box) return [0, 0, 0, 0];
    // A frame of ours is never lower than its window.
    box.style.minHeight = 0;
    const high = () => Math.ceil(box.getBoundingClientRect().height),
      heights = [high()],
      padding = 2 * parseFloat(getComputedStyle(box).paddingTop);
    const caption = box.querySelector("caption");
    // Without rates the server's height stays.
    if (!caption) return [0, 0, 0, 0];
    // What is copied in the evening, or while rates are old, has to have room for a usual day.
    if (box.matches(".cbr-old")) {
      box.classList.remove("cbr-old");
      box.querySelector(box.matches(".cbr-converter") ? "p" : "p strong").remove();
    }
    (caption.querySelector("a") || caption).firstChild.data = said.evening;
    heights.push(high());
    all(box, ".cbr-today").forEach((one) => one.remove());
    box.className = box.className.replace(/cbr-at-\d+/, `cbr-at-${said.threshold}`);
    heights.push(high());
    if (inner && box.querySelector("thead.cbr-words")) {
      if (isBar() || !hosted()) box.classList.add("cbr-old");
      const note = box.querySelector("p") || box.appendChild(document.createElement("p")),
        strong = document.createElement("strong");
      strong.textContent = said.old;
      note.replaceChildren(strong, " cbr.ru");
      heights.push(high());
    }
    caption.style.cssText = "display:block;width:max-content;white-space:nowrap";
    return [Math.max(...heights), padding, Math.ceil(caption.offsetWidth), box.querySelectorAll("tbody tr").length];
  };

  // The code reserves the larger of the heights in a narrow place and in the chosen width, unless somebody chose a height.
  // A bar has both: the first for a phone, the second for a window with room for its place, or for all cells, of 93 pixels
  // each, in one row. Around a frame is a container, so that it has the first until its cells and its heading have room.
  const reserved = (code, high, low = high, { cells = 0, heading = 0, place = Infinity } = {}) => {
    const isContained = code.includes("container-type"),
      step = isContained ? "900cqw" : "300vw",
      between = isContained
        ? high + 9 * Math.max(93 * cells + 17, heading)
        : Math.min(high + 3 * (93 * cells + 48), low + 3 * (place + 32));
    const heights = (unit) => {
      const [least, middle, most] = [low, between, high].map(
        (pixels) => (unit == "em" ? Math.ceil((pixels * 10) / 16) / 10 : pixels) + unit,
      );
      return low < high ? `clamp(${least},${middle} - ${step},${most})` : most;
    };
    return code
      .replace(
        /(min-?height:\s?"?|100%;height:)(?:clamp\(.*?(em|px)\)|[\d.]+(em|px))/gi,
        (_, before, one, other) => before + heights(one || other),
      )
      .replace(
        /(<iframe.* height=")\d+|(\bheight=)\d+(?!\d*"? style)/g,
        (_, frame, address) => (frame || address) + low,
      );
  };

  const preview = async () => {
    const mine = ++drawn,
      panel = openPanel(),
      code = panel.querySelector("code");
    const box = byId("preview"),
      grounds = box.querySelector(".grounds.scripted"),
      said = byId("result").dataset;
    box.setAttribute("aria-busy", "true");
    // The place of what is drawn anew stays as high as it was, or the tabs below would move under a pointer.
    box.style.minHeight = held + "px";
    const radios = all(box, "[name=at]"),
      pressed = radios.find((one) => one.value === width);
    if (pressed) pressed.checked = true;
    const at = Number(radios.find((one) => one.checked).value),
      sentence = box.dataset.sentence?.split("|");
    const shown = (text) => (sentence ? `<p>${sentence[0]}${text}${sentence[1]}</p>` : text);
    let text = shown(panel.dataset.shown || code.textContent);
    if (!form.elements.height?.value && !sentence && /min-?height|<iframe/i.test(text)) {
      const hidden = document.createElement("div");
      hidden.className = "measured";
      box.append(hidden);
      const isFrame = /<iframe/i.test(text),
        // Whoever chose a column for a bar has it in a wide window, too. A frame sees its container.
        column = isBar() && !isFrame && Number(form.elements.width?.value),
        place = (isBar() && !isFrame && (column || at)) || Infinity,
        // A page of ours has 16 pixels around its column. What is pressed beside the preview may be the width of either.
        pages = column ? [column + 32] : [at, at + 32],
        wide = place < Infinity ? pages : [isBar() ? 760 : at || grounds.clientWidth - 2],
        // A place without a width gives a table 18em. A bar is as wide as a phone, and a frame as a sidebar of 300 or 180.
        narrow = isFrame ? [216, 336] : [isBar() ? Math.min(wide.at(-1), 360) : 304],
        widths = [...new Set([...narrow, ...wide])];
      // Rows fill what is reserved, so they are measured without it; a low frame has small letters.
      const bare = reserved(text, isFrame ? 400 : 0),
        frames = await Promise.all(widths.map((one) => framed(bare, "light", one, hidden)));
      // In the evening a name may need one more line, which the server counts, because no browser can see it by day.
      const sizes = frames.map(needed),
        heights = sizes.map(([height]) => height),
        now = Math.max(...heights),
        high = now && Math.max(now, Number(grounds.dataset.later) + Math.ceil(sizes[0][1])),
        low = isBar() ? Math.max(...heights.filter((_, nth) => wide.includes(widths[nth]))) + high - now : high,
        of = { cells: sizes.at(-1)[3], heading: sizes.at(-1)[2] + 24, place };
      hidden.remove();
      if (mine !== drawn) return;
      if (high) {
        // The frame that oEmbed gives has one height.
        text = reserved(text, text.includes("frameborder") ? low : high, low, of);
        for (const one of all(byId("code"), "code")) one.textContent = reserved(one.textContent, high, low, of);
      }
    }
    const figures = ["light", "dark"].map((ground) => {
      const figure = document.createElement("figure"),
        caption = document.createElement("figcaption");
      figure.className = ground;
      caption.textContent = said[ground];
      if (!at) figure.style.width = "100%";
      return [figure, caption, framed(text, ground, at, figure)];
    });
    grounds.replaceChildren(...figures.map(([figure]) => figure));
    for (const [figure, caption] of figures) figure.append(caption);
    const [frame] = await Promise.all(figures.map((one) => one[2])),
      line = frame.contentDocument?.querySelector("cbr-rates[layout=line]")?.shadowRoot?.querySelector(".cbr-rates");
    const rows = line ? all(line, "tbody tr") : [],
      end = line?.getBoundingClientRect().bottom - 9;
    const seen = rows.filter((one) => one.getBoundingClientRect().top < end);
    const trend = frame.contentDocument?.querySelector("cbr-rates")?.shadowRoot?.querySelector("td.cbr-trend");
    const fits = byId("fits");
    if (!fits || mine !== drawn) return;
    fits.hidden = seen.length === rows.length && (!trend || trend.offsetWidth > 1);
    fits.textContent = (rows.length ? said.fits : said.trendless)
      .replace("{shown}", seen.length)
      .replace("{all}", rows.length)
      .replace("{width}", frame.clientWidth);
    box.removeAttribute("aria-busy");
    box.style.minHeight = "";
    held = box.getBoundingClientRect().height;
  };

  const search = () => {
    const wanted = byId("find").value.trim().toLowerCase();
    for (const line of lines()) line.hidden = !line.textContent.toLowerCase().includes(wanted);
    byId("nothing").hidden = lines().some((line) => !line.hidden);
    arranged();
  };

  form.addEventListener("input", ({ target }) => {
    if (target.id === "find") return search();
    if (target.name === "own") form.elements.heading.value = target.value ? "own" : "";
    if (target.id === "picker") form.elements.ground.value = target.value;
    if (target.name === "ground" && /^#[\da-f]{6}$/i.test(target.value)) byId("picker").value = target.value;
    if (target.name === "ground" || target.id === "picker") form.elements.theme.value = "own";
    if (target.name === "heading" && target.value !== "own") form.elements.own.value = "";
    arranged();
    overtake();
    const is_typed = /^(text|url|number|color)$/.test(target.type);
    timer = setTimeout(update, is_typed ? 200 : 0, is_typed ? target : undefined);
  });
  byId("result").addEventListener("input", ({ target }) => {
    width = target.value;
    preview();
  });
  byId("result").addEventListener("click", ({ target }) => {
    if (target.matches(".copy")) copied(target);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const line = event.submitter?.closest(".codes li");
    if (line && dragged) return (dragged = false);
    if (line) {
      line.parentNode.prepend(line);
      boxOf(line).focus();
    }
    update();
  });
  form.addEventListener("click", (event) => {
    const link = event.target.closest("a.card");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(link);
  });
  form.addEventListener("focusin", ({ target }) => {
    if (target.name === "codes") stopAt(target.closest("li"));
  });
  form.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key],
      line = event.target.closest(".codes li");
    if (!step || !line) return;
    event.preventDefault();
    const among = event.altKey ? chosen() : lines().filter((one) => !one.hidden),
      to = among[among.indexOf(line) + step];
    if (!to || !among.includes(line)) return;
    if (!event.altKey) return boxOf(to).focus();
    moved(line, to);
    line.scrollIntoView({ block: "nearest" });
    byId("moved").textContent = `${boxOf(line).value}: ${chosen().indexOf(line) + 1} / ${among.length}`;
    update();
  });
  form.addEventListener("pointerdown", ({ target, pointerId }) => {
    const grip = target.closest(".codes button"),
      line = grip?.closest("li");
    if (!line) return;
    dragged = false;
    grip.setPointerCapture(pointerId);
    grip.onpointermove = ({ clientY }) => {
      const to = chosen().find((one) => {
        const { top, bottom } = one.getBoundingClientRect();
        return one !== line && top <= clientY && clientY < bottom;
      });
      if (!to) return;
      dragged = true;
      line.classList.add("dragged");
      moved(line, to);
    };
    grip.onpointerup = grip.onpointercancel = () => {
      grip.onpointermove = null;
      line.classList.remove("dragged");
      if (dragged) update();
    };
  });
  addEventListener("popstate", () => {
    typing = undefined;
    show(location.search || "?", true);
  });
  document.documentElement.className = "live";
  arranged();
  tabs(byId("code"));
  select(open);
  preview();
})();
