// <cbr-rates>: the Bank of Russia's rates, as this service wrote them. MIT licence.
// It shows rows or the link inside, on every host page. A name in a host's HTML hides a property of its document, and a
// script may add keys to every object. So this file reads the properties of Document.prototype and indexes of arrays, and
// creates the shadow root, which hides the link, after everything that may fail.
// createElementNS, adoptedStyleSheets and CSSOM only: it works under style-src 'self' and Trusted Types.
(() => {
  const of = (name, page = document) => Reflect.get(Document.prototype, name, page);
  const source = of("currentScript")?.src,
    jobs = { __proto__: null };
  const known = [
    "height",
    "refresh",
    "href",
    "updown",
    "head",
    "heading",
    "unit",
    "date",
    "code",
    "theme",
    "pending",
    "lang",
    "layout",
    "decimals",
    "codes",
    "spark",
    "symbols",
    "columns",
    "converter",
    "key_rate",
  ];
  // Tags and attributes of rows; 2 is SVG. Both lists are in the order that packs best. Looked up without a method, because a page may replace methods.
  const allowed = {
    __proto__: null,
    caption: 1,
    "cbr-converter": 1,
    "aria-hidden": 1,
    "aria-label": 1,
    class: 1,
    tr: 1,
    thead: 1,
    p: 1,
    td: 1,
    bdi: 1,
    points: 1,
    data: 1,
    dir: 1,
    th: 1,
    polyline: 2,
    a: 1,
    tbody: 1,
    lang: 1,
    strong: 1,
    svg: 2,
    viewBox: 1,
    scope: 1,
    role: 1,
    title: 1,
    table: 1,
    target: 1,
    slot: 1,
  };
  // Milliseconds before an element that is inserted asks: some pages insert one that failed again at once.
  let rest = 0;
  // A node is a text, or an array of its tag, an array of attributes and their values, and the nodes inside. Another tag
  // becomes a span, another attribute is left out, and a link to anything but http and https, too.
  const built = (node) => {
    if (node === "" + node) return of("createTextNode").call(document, node);
    const tag = node[0],
      attributes = node[1];
    const element = of("createElementNS").call(
      document,
      "http://www.w3.org/" + (allowed[tag] > 1 ? "2000/svg" : "1999/xhtml"),
      allowed[tag] ? tag : "span",
    );
    for (let at = 0; at < attributes.length; at += 2) {
      const name = attributes[at],
        value = attributes[at + 1];
      if (name == "href" ? /^https?:/i.test(value) : allowed[name]) element.setAttribute(name, value);
      if (name == "class") element.setAttribute("part", value.replaceAll("cbr-", ""));
    }
    for (let at = 2; at < node.length; at++) element.appendChild(built(node[at]));
    return element;
  };
  // For a minute equal elements share an answer, also a failure. A page that asks for more than a hundred gets no more.
  const asking = async (url) => {
    setTimeout(() => delete jobs[url], 6e4);
    if (Object.keys(jobs)[99]) throw url;
    const answer = await fetch(url, { __proto__: null, credentials: "omit", signal: AbortSignal.timeout(9e3) });
    return answer.json();
  };
  customElements.get("cbr-rates") ||
    customElements.define(
      "cbr-rates",
      class extends HTMLElement {
        static observedAttributes = known;
        #due;
        #turn;
        #shown;
        #root;
        // States, which no server writes, instead of an attribute. Older browsers have none.
        #states = this.attachInternals?.().states;
        connectedCallback() {
          this.#plan(rest);
        }
        // An attribute that changes at every frame asks once.
        attributeChangedCallback() {
          this.#turn && this.#plan(500);
        }
        disconnectedCallback() {
          clearTimeout(this.#due);
          this.#turn = 0;
        }
        // The method that built the node puts it into the root, and where a page has broken it there is no root.
        #draw({ style, content }) {
          const sheet = new (of("defaultView", this.ownerDocument).CSSStyleSheet)(),
            node = built(content);
          sheet.replaceSync(style);
          if (!node.textContent) throw content;
          this.#root ||= this.attachShadow({ __proto__: null, mode: "open" });
          this.#root.textContent = "";
          this.#root.appendChild(node);
          // Last: where a page lets no sheet be adopted, the link stands there without one.
          this.#root.adoptedStyleSheets = [sheet];
        }
        // A hidden page asks when it is seen again, except for its first rows.
        #plan(wait) {
          clearTimeout(this.#due);
          this.#due = setTimeout(() => (this.#turn && of("hidden") ? this.#plan(wait) : this.#show()), wait);
        }
        async #show() {
          const turn = (this.#turn = {});
          let url,
            detail,
            state = "load",
            at = this,
            spoken;
          try {
            // A timer counts 32 bits of milliseconds, and one that is longer than that is due at once.
            const minutes = this.getAttribute("refresh");
            if (minutes > 4 && minutes < 1441) this.#plan(minutes * 6e4);
            this.style.height = this.getAttribute("height") + "px";
            url = /.*\/widget\//.exec(source)[0] + "nodes.json?";
            // Out of the shadow trees around it.
            do spoken = at.closest("[lang]");
            while (!spoken && (at = at.getRootNode()) instanceof ShadowRoot && (at = at.host));
            for (let at = 2; at < known.length; at++) {
              const name = known[at],
                text = (name == "lang" ? spoken : this)?.getAttribute(name);
              if (text) url += "&" + name + "=" + encodeURIComponent(text);
            }
            const answer = await (jobs[url] ||= asking(url));
            // The element has gone, or asks for something else.
            if (turn != this.#turn) return;
            this.#draw(answer);
            this.#shown = url;
          } catch (error) {
            if (turn != this.#turn) return;
            detail = error;
            rest = 500;
            state = "error";
          }
          try {
            this.dispatchEvent(new CustomEvent("cbr-" + state, { __proto__: null, composed: 1, bubbles: 1, detail }));
            this.#states?.clear();
            this.#states?.add(state);
            // The link, whose title says that there are no rates. The rows stay if only their refresh fails.
            if (url != this.#shown)
              this.#draw({
                style: "*{min-height:inherit}::slotted([title])::after{content:'. 'attr(title)}",
                content: ["slot", "", " "],
              });
          } catch {}
        }
      },
    );
})();
