// Opens hostile pages in a frame, one after another, and says what a reader sees of the element there. A page of its own
// realm: whatever a hostile page does to its prototypes, this one keeps its own.
(async () => {
  "use strict";
  const method =
    (prototype, name) =>
    (node, ...given) =>
      Reflect.apply(prototype[name], node, given);
  const getter = (prototype, name) => {
    const { get } = Object.getOwnPropertyDescriptor(prototype, name);
    return (node) => Reflect.apply(get, node, []);
  };
  const [shadow, attributes, tag, child] = ["shadowRoot", "attributes", "localName", "firstElementChild"].map((name) =>
    getter(Element.prototype, name),
  );
  const [nameOf, valueOf] = ["name", "value"].map((name) => getter(Attr.prototype, name));
  const [rects, attribute, first, find, matches] = [
    "getClientRects",
    "getAttribute",
    "querySelector",
    "querySelectorAll",
    "matches",
  ].map((name) => method(Element.prototype, name));
  const text = getter(Node.prototype, "textContent"),
    inside = method(DocumentFragment.prototype, "querySelectorAll");
  const inDocument = method(Document.prototype, "querySelector"),
    listen = method(EventTarget.prototype, "addEventListener");
  const frame = document.body.appendChild(document.createElement("iframe"));
  frame.width = 600;
  frame.height = 700;

  const opened = async ({ url, patience }) => {
    const report = { ran: [], errors: [], events: [] };
    let view;
    // Each hostile page begins with parent.watch(window). It may name its `subject`, be `busy`, and have `said` something.
    window.watch = (page) => {
      view = page;
      const on = (kind, what) => listen(page, kind, what, true);
      on("error", (event) => event.message && report.errors.push(event.message));
      on("unhandledrejection", (event) => report.errors.push("rejected: " + event.reason));
      for (const kind of ["cbr-load", "cbr-error"]) on(kind, () => report.events.push(kind));
      Object.defineProperty(page, "pwned", { value: () => report.ran.push("pwned") });
    };
    // Patience begins when everything has come that the page named itself.
    let until = Infinity;
    frame.onload = () => (until = performance.now() + patience * 1000);
    frame.src = url;
    const subject = () => view && (view.subject || inDocument(view.document, "cbr-rates"));
    const state = () => ["load", "error"].find((name) => matches(subject(), `:state(${name})`));
    const settled = () => subject() && !view.busy && state();
    while (!settled() && performance.now() < until) await new Promise((done) => setTimeout(done, 10));
    const element = subject();
    if (!element) return { ...report, shown: "no element" };
    return { ...report, state: state(), said: view.said, ...looked(element, view.root, report) };
  };

  // The shadow root is the element's own, or one that the page kept. Without any the element itself is looked at.
  const looked = (element, kept, report) => {
    const root = shadow(element) || kept,
      nodes = [...(root ? inside(root, "*") : find(element, "*"))];
    const seen = (node) => node && rects(node).length > 0 && text(node).trim() !== "";
    const converter = nodes.find((node) => tag(node) === "cbr-converter" && shadow(node));
    for (const node of [...nodes, ...(converter ? inside(shadow(converter), "*") : [])]) {
      for (const one of attributes(node)) {
        const name = nameOf(one),
          value = valueOf(one),
          leads = /^(href|src|action|formaction|xlink:href)$/i.test(name);
        if (/^(on.*|srcdoc|style|is)$/i.test(name) || (leads && !/^https?:/i.test(value)))
          report.ran.push(`${name}=${value}`);
      }
    }
    for (const node of nodes) {
      if (!/^(a|bdi|caption|cbr-converter|p|polyline|slot|span|strong|svg|t.*)$/.test(tag(node)))
        report.ran.push(`<${tag(node)}>`);
    }
    const words = nodes.filter((node) => attribute(node, "class") === "cbr-words"),
      link = first(element, "a");
    return {
      shown: nodes.some((node) => !child(node) && /\d[.,]\d\d/.test(text(node)) && seen(node))
        ? "rows"
        : seen(link)
          ? "link"
          : "nothing",
      styled: words.length > 0 && words.every((node) => getComputedStyle(node).position === "absolute"),
      text: text(root || element),
      converter: Boolean(converter),
    };
  };

  for (;;) {
    const job = await (await fetch("/next")).json();
    let verdict;
    try {
      verdict = await opened(job);
    } catch (error) {
      verdict = { shown: "the judge failed: " + error.stack };
    }
    await new Promise((done) => {
      frame.onload = done;
      frame.src = "about:blank";
    });
    await fetch("/verdict", { method: "POST", body: JSON.stringify(verdict) });
  }
})();
