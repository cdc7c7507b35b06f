// <cbr-converter>: an amount at the widget's rates, exactly and without a request. MIT licence.
// It comes after the rows, and computes with their own figures in whole numbers: no float, rounded once, half to even.
// Like the loader it trusts no host page, see rates.js. If it fails it stays empty.
customElements.get("cbr-converter") ||
  (() => {
    const of = (name, page = document) => Reflect.get(Document.prototype, name, page);
    // The attributes are an array of names and values; empty ones are left out.
    const make = (tag, attributes, ...inner) => {
      const made = of("createElement").call(document, tag);
      for (let at = 0; at < attributes.length; at += 2)
        if (attributes[at + 1]) made.setAttribute(attributes[at], attributes[at + 1]);
      for (let at = 0; at < inner.length; at++) made.appendChild(inner[at]);
      return made;
    };
    const filled = (tag, attributes, text) => {
      const made = make(tag, attributes);
      made.textContent = text;
      return made;
    };
    // A decimal literal as a whole number and its count of decimals.
    const whole = (text) => {
      const [front, back = ""] = text.split(".");
      return [BigInt(front + back), back.length];
    };
    const power = (places) => 10n ** BigInt(places);
    const convert = (amount, [value, nominal], [price, units, places]) => {
      const [given, shift] = whole(amount),
        [above, more] = whole(value),
        [below, less] = whole(price);
      const numerator = given * above * BigInt(units) * power(less + places),
        denominator = below * BigInt(nominal) * power(shift + more);
      const quotient = numerator / denominator,
        twice = (numerator % denominator) * 2n;
      return quotient + (twice > denominator || (twice == denominator && quotient % 2n) ? 1n : 0n);
    };
    // The loader draws new rows into the same shadow root. What a reader typed there stays, and so does the focus.
    const kept = new WeakMap(),
      typing = new WeakSet();
    const fill = (host) => {
      const around = host.getRootNode(),
        [typed, base, quote] = (around.host && kept.get(around)) || ["100"];
      const { rates, names, words, lang, group, mark } = JSON.parse(host.getAttribute("data"));
      const written = (number, places) => {
        const digits = String(number).padStart(places + 1, "0"),
          front = digits.slice(0, digits.length - places);
        return front.replace(/\B(?=(\d{3})+$)/g, group) + (places ? mark + digits.slice(-places) : "");
      };
      // The rule of amounts.py, and tests/amounts.json holds both to it: the number, its currency, and whether a mark was read
      // as the language has it. A code or a sign of another currency than the chosen one, or a word for roubles, means that one.
      const read = (text) => {
        const typed =
          /^([^0-9.,]*\p{L}\.?\s*|[^0-9.,]*)([.,]?[0-9](?:[0-9.,\s'’‘ʼ`´]*[0-9])?[.,]?)((?:[^0-9.,][^0-9]*)?)$/u.exec(
            text.trim(),
          );
        if (!typed) return;
        const words = (typed[1] + " " + typed[3]).toLowerCase().match(/[^\s.,]+/g) || [];
        const named = (code) => {
          const signs = rates[code][3],
            near = code == from.value || code == "RUB";
          return words.every(
            (word) =>
              word == code.toLowerCase() ||
              (near ? signs : signs.slice(0, 1)).includes(word) ||
              (near &&
                names[code]
                  .toLowerCase()
                  .match(/[^\s()-]+/g)
                  .some(
                    (name) =>
                      (word[1] && name.startsWith(word)) ||
                      word.startsWith(name.slice(0, Math.max(2, name.length - 1))),
                  )),
          );
        };
        const code = [from.value, "RUB", ...Object.keys(rates)].find(named);
        let [, , number] = typed,
          guessed = false;
        for (const [by, point] of [",.", ".,"])
          if (RegExp(`^[1-9][0-9]{0,2}(\\${by}[0-9]{3})+(\\${point}[0-9]*)?$`).test(number)) {
            guessed = !number.includes(point) && number.split(by).length == 2;
            if (!guessed || by == group) number = number.replaceAll(by, "");
            break;
          }
        const plain = /^([0-9]*|[0-9]{1,3}(?:[\s'’‘ʼ`´][0-9]{3})+)(?:[.,]([0-9]{0,10}))?$/.exec(number),
          front = plain?.[1].replace(/\D/g, "");
        return code && front?.length < 16 && { number: front + "." + (plain[2] || ""), code, guessed };
      };
      const select = (chosen, other, name, label) => {
        const made = make(
          "select",
          ["aria-label", name, "aria-labelledby", name ? "" : label, "part", "currency"],
          ...Object.keys(rates).map((code) =>
            filled("option", ["aria-label", code + ", " + names[code], "value", code], code),
          ),
        );
        made.value = rates[chosen] ? chosen : other;
        return made;
      };
      const from = select(base, Object.keys(rates)[0], words.from, "of-amount"),
        to = select(quote, "RUB", words.to, "of-result");
      const amount = make("input", [
        "id",
        "amount",
        "inputmode",
        "decimal",
        "autocomplete",
        "off",
        "maxlength",
        30,
        "part",
        "amount",
        "dir",
        "ltr",
      ]);
      amount.value = typed;
      const result = make("output", ["id", "result", "for", "amount", "part", "result", "dir", "ltr"]);
      const swap = filled("button", ["type", "button", "aria-label", words.swap, "lang", lang, "part", "swap"], "⇅");
      const labels = ["amount", "result"].map((id) => make("label", ["for", id, "id", "of-" + id]));
      const note = make("p", ["role", "alert", "lang", lang]);
      const show = () => {
        const known = read(amount.value),
          wrong = !known && amount.value.trim() != "";
        if (known && known.code != from.value) {
          if (known.code == to.value) to.value = from.value;
          from.value = known.code;
        }
        const codes = [from.value, to.value],
          meant = known && known.guessed && written(...whole(known.number));
        labels.forEach((label, at) => {
          const name = names[codes[at]],
            front = [words[label.htmlFor], !at && meant].filter(Boolean).join(" · ");
          label.textContent = front || name;
          // A name falls below its label's only line where it is too long.
          if (front) label.appendChild(filled("span", [], "· " + name));
        });
        amount.setAttribute("aria-invalid", wrong);
        note.textContent = wrong ? words.number : "";
        result.value = known
          ? written(convert(known.number, rates[codes[0]], rates[codes[1]]), rates[codes[1]][2])
          : "";
        kept.set(around, [amount.value, ...codes]);
      };
      // Whoever chooses a currency means it, and not the one in the text.
      from.oninput = () => {
        amount.value = amount.value.replace(/\p{L}\.|[^0-9.,\s'’‘ʼ`´]/gu, "").trim();
        show();
      };
      swap.onclick = () => {
        [from.value, to.value] = [to.value, from.value];
        show();
      };
      amount.oninput = to.oninput = show;
      amount.onfocus = () => typing.add(around);
      // A field that is taken away while somebody types loses the focus, too.
      amount.onblur = () => queueMicrotask(() => host.isConnected && typing.delete(around));
      show();
      const sheet = new (of("defaultView", host.ownerDocument).CSSStyleSheet)();
      sheet.replaceSync(`
:host{display:block;container-type:inline-size}
:host([hidden]){display:none}
div{display:flex;flex-wrap:wrap;align-items:center;gap:.2em .4em}
label,p{flex:0 0 100%;margin:0;font-size:max(12px,.8em);line-height:1.35;opacity:var(--cbr-soft,.8)}
label:has(span){display:flex;flex-wrap:wrap;gap:0 .3em;height:1.35em;overflow:hidden}
label:nth-of-type(2){margin-top:.4em}
input,select,output,button{box-sizing:border-box;min-width:0;min-height:2.2em;margin:0;padding:.2em .5em;border:1px solid color-mix(in srgb,currentColor 75%,transparent);border-radius:.3em;background:none;color:inherit;font:inherit;line-height:1.6;font-variant-numeric:tabular-nums}
input,output{flex:1 1 4em;width:4em;overflow-wrap:anywhere}
output{flex-basis:6.1em;min-height:1.76em;padding:.1em .4em;font-size:1.25em;line-height:1.4;font-weight:600}
select{flex:0 0 5.4em}
output+select{flex:99 0 5.4em;max-width:8em}
option{background:Canvas;color:CanvasText}
button{min-width:2.2em;cursor:pointer}
@container (width<14.5em){div{column-gap:.2em}input,select,button{padding-inline:.3em}button{min-width:1.8em}input{flex-basis:3em}output{flex-basis:auto;width:auto;min-height:2.2em;padding:.2em .3em;font-size:1em;line-height:1.6}select,output+select{flex:1 0 4.4em;max-width:none}}
:focus-visible{outline:2px solid;outline-offset:1px}
[aria-invalid=true]{border-style:double;border-width:3px}
p[role]{opacity:1;font-weight:bold}
p:empty{display:none}
@media print{button{display:none}}`);
      const root = host.attachShadow({ __proto__: null, mode: "open" });
      root.adoptedStyleSheets = [sheet];
      root.appendChild(make("div", [], labels[0], amount, from, swap, note, labels[1], result, to));
      if (around.host && typing.has(around)) amount.focus({ preventScroll: true });
    };
    customElements.define(
      "cbr-converter",
      class extends HTMLElement {
        connectedCallback() {
          try {
            this.shadowRoot || fill(this);
          } catch {}
        }
      },
    );
  })();
