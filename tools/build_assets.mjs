// Writes the scripts and styles that are served: `node tools/build_assets.mjs`. With --check it only compares them.
// The sources are ratesvc/features/*/assets/*.js and *.css; `built/` beside them has the bytes, and the hash of each source.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { transform } from "esbuild";
import { minify } from "terser";

const COMPRESS = { passes: 3, ecma: 2022, unsafe_arrows: true, pure_getters: true };
const FEATURES = "ratesvc/features";

const script = async (text) => (await minify(text, { compress: COMPRESS, mangle: true, ecma: 2022 })).code;

// esbuild leaves blanks in custom properties and in the arguments of var(). Strings stay as they are.
const style = async (text) => {
  const { code, warnings } = await transform(text, { loader: "css", minify: true });
  if (warnings.length) throw new Error(warnings[0].text);
  return code.replace(/("[^"]*")|(,|\(|--[\w-]+:) | (\)|!important)/g, "$1$2$3").trim();
};

const hash = (content) => createHash("sha256").update(content).digest("hex");

const listed = (folder) => (existsSync(folder) ? readdirSync(folder).sort() : []);

// What `built/` of a feature has to hold.
const built = async (assets) => {
  const files = {},
    hashes = {};
  for (const name of listed(assets).filter((name) => /\.(js|css)$/.test(name))) {
    const text = readFileSync(join(assets, name), "utf8");
    files[name] = (await (extname(name) === ".js" ? script(text) : style(text))) + "\n";
    hashes[name] = hash(text);
  }
  return Object.keys(files).length ? { ...files, "sources.json": JSON.stringify(hashes, null, 2) + "\n" } : {};
};

const isCheck = process.argv.includes("--check");
const differing = [];
for (const feature of listed(FEATURES)) {
  const assets = join(FEATURES, feature, "assets"),
    folder = join(assets, "built");
  const wanted = await built(assets);
  for (const name of new Set([...listed(folder), ...Object.keys(wanted)])) {
    const file = join(folder, name);
    if (existsSync(file) && readFileSync(file, "utf8") === wanted[name]) continue;
    differing.push(file);
    if (isCheck) continue;
    mkdirSync(folder, { recursive: true });
    if (name in wanted) writeFileSync(file, wanted[name]);
    else rmSync(file);
  }
}
if (isCheck && differing.length) {
  console.error(`Not built from their sources: ${differing.join(", ")}. Run make front.`);
  process.exit(1);
}
