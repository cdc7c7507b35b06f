// Prebid.js as it is published to npm, all of its modules, in a page of jsdom. The line of docs/dialects.md configures it.
const { readFileSync } = require("fs");
const { JSDOM, VirtualConsole } = require("jsdom");
const [line, ...pairs] = process.argv.slice(2);

const page = new JSDOM("<!doctype html>", {
  url: "https://publisher.example/",
  runScripts: "outside-only",
  virtualConsole: new VirtualConsole(),
});
// What every browser has and jsdom has not.
for (const name of ["fetch", "Request", "Response", "Headers"]) page.window[name] = globalThis[name];
page.window.eval(
  readFileSync(require.resolve("prebid.js").replace(/dist.src.src.*/, "dist/not-for-prod/prebid.js"), "utf8"),
);
const { pbjs } = page.window;
page.window.eval(line);

const loaded = setInterval(() => {
  try {
    const rates = Object.fromEntries(pairs.map((pair) => [pair, pbjs.convertCurrency(1, ...pair.split("/"))]));
    clearInterval(loaded);
    console.log(JSON.stringify({ version: pbjs.version, rates }));
    process.exit(0);
  } catch {} // the file has not come yet
}, 20);
