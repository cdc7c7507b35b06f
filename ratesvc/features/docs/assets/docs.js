// The search of /docs: finds words in all of its pages. Beside a long page the contents follow the reader.
// Without JavaScript the contents lead everywhere.
(() => {
  "use strict";
  const search = document.getElementById("search"),
    find = search.querySelector("input"),
    nothing = search.querySelector("output");
  const results = search.querySelector("ol"),
    contents = document.querySelector(".contents > details");
  // On a phone the contents would stand before the page.
  const wide = matchMedia("(min-width:62rem)"),
    fit = () => {
      contents.open = wide.matches;
    };
  wide.addEventListener("change", fit);
  fit();
  const plain = (text) => text.toLowerCase().replace(/[ёэ]/g, "е"),
    wordsOf = (text) => plain(text).match(/[\p{L}\p{N}]+/gu) || [];
  // Words of every question say nothing about what is meant.
  const empty = new Set(
    wordsOf(
      "a an and any api are as at be been can could did do does example find for from get give has have how i if in into is it know like make " +
        "many may me much must my need no not of on one or other our rate rates see should show so some tell than that the their them then there " +
        "these they this to use used using want was way we were what when where whether which who why will with work would you your " +
        "а без бы был была были было быть в вам ваш во все всех вы где данные данных делать для до его ее если есть еще за зачем и из или " +
        "иметь использовать к как какая какие каких какого какой какому ко когда которые который курс курса курсов курсом курсу курсы " +
        "ли лучше меня мне мой можно мы на нам над надо нас не нет них но ну нужен нужна нужно о об один он она они от откуда отличить " +
        "по под получать получить пожалуйста пример понять посмотреть потом почему при про просто с сам свой сделать сейчас сколько со " +
        "так такое там тем то того только тот тут у уже узнать хочу чего чем что чтобы это этот я",
    ),
  );
  let index;
  const load = () =>
    (index ||= fetch(search.dataset.index)
      .then((answer) => answer.json())
      .then((all) =>
        all.map(([address, title, text, also]) => ({
          address,
          title,
          text,
          heads: wordsOf(`${title} ${also}`),
          words: wordsOf(text),
        })),
      ));
  // A word without its ending: "кэше" is "кэш", "округляется" and "округление" are "округл", "rates" is "rate".
  const stem = (word) =>
    word
      .replace(/(?<=.{3})с[яь]$|(?<=.{3})(?:e?s|ing|ed)$/, "")
      .replace(/(?<=.{4})[аеиоуыюя]+(?:[мхвтлн]|го|му|ми|нн)[аеиоуыюяйь]*$|(?<=.{3})[аеиоуыюяйь]+$/, "");
  // Three for the same word, two for one that begins so or has another ending, one for one that is alike.
  const near = (asked, word) => {
    if (asked === word) return 3;
    if (stem(asked) === stem(word)) return 2;
    // "down" is not the beginning of "download".
    if (asked.length > 2 && word.startsWith(asked)) return word.length - asked.length > 3 ? 1 : 2;
    let same = 0;
    while (same < asked.length && asked[same] === word[same]) same++;
    return same >= Math.max(4, Math.min(asked.length, word.length) - 4, asked.length - 4) ? 1 : 0;
  };
  const best = (asked, words) => words.reduce((most, word) => Math.max(most, near(asked, word)), 0);
  const found = (entries, asked) => {
    const scores = new Map(entries.map((entry) => [entry, 0]));
    for (const word of asked) {
      const hits = entries
        .map((entry) => [entry, 3 * best(word, entry.heads) + best(word, entry.words)])
        .filter(([, hit]) => hit);
      for (const [entry, hit] of hits)
        scores.set(entry, scores.get(entry) + hit * Math.log(1 + entries.length / hits.length));
    }
    return entries.filter((entry) => scores.get(entry)).sort((one, other) => scores.get(other) - scores.get(one));
  };
  const part = (kind, text) => Object.assign(document.createElement(kind), { textContent: text });
  // Some words around the first that was asked for, which is marked.
  const excerpt = (entry, asked) => {
    const spots = [...entry.text.matchAll(/[\p{L}\p{N}]+/gu)],
      line = document.createElement("p");
    const spot = [3, 2, 1]
      .map((least) => spots.find((one) => asked.some((word) => near(word, plain(one[0])) >= least)))
      .find((one) => one);
    if (!spot) return Object.assign(line, { textContent: entry.text.slice(0, 150) });
    const from = spot.index,
      to = from + spot[0].length;
    const start = entry.text.lastIndexOf(" ", Math.max(0, from - 40)) + 1,
      end = entry.text.indexOf(" ", to + 110);
    line.append(entry.text.slice(start, from), part("mark", spot[0]), entry.text.slice(to, end < 0 ? undefined : end));
    return line;
  };
  const show = async () => {
    const entries = await load(),
      all = wordsOf(find.value),
      telling = all.filter((word) => !empty.has(word)),
      asked = telling.length ? telling : all;
    const hits = asked.length ? found(entries, asked).slice(0, 8) : [];
    results.replaceChildren(
      ...hits.map((entry) => {
        const item = document.createElement("li"),
          link = part("a", entry.title);
        link.href = entry.address;
        item.append(link, excerpt(entry, asked));
        return item;
      }),
    );
    contents.hidden = asked.length > 0;
    nothing.value = asked.length && !hits.length ? nothing.dataset.nothing : "";
  };
  find.addEventListener("focus", load);
  find.addEventListener("input", show);
  find.addEventListener("keydown", async (event) => {
    if (event.key !== "Enter") return;
    await show();
    results.querySelector("a")?.click();
  });
  search.hidden = false;
  const links = [...contents.querySelectorAll("ul ul a")];
  const follow = () => {
    const here = links.findLast(
      (link) =>
        document.getElementById(decodeURIComponent(link.hash.slice(1))).getBoundingClientRect().top < innerHeight / 3,
    );
    for (const link of links) link.ariaCurrent = link === here ? "location" : null;
    if (here && wide.matches) contents.parentElement.scrollTop = here.offsetTop - innerHeight / 2;
  };
  addEventListener("scroll", follow);
  addEventListener("load", follow);
})();
