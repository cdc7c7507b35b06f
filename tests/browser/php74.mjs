// PHP 7.4, which Debian no longer has: `node php74.mjs MAIN FILE…` copies these files to where PHP finds them, runs the
// first, and prints what it prints. It runs in the folder that has the packages: php-wasm
// needs ws, too, and does not name it.
import { getPHPLoaderModule } from "@php-wasm/node-7-4";
import { loadPHPRuntime, PHP } from "@php-wasm/universal";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";

const php = new PHP(await loadPHPRuntime(await getPHPLoaderModule()));
for (const file of process.argv.slice(2)) {
  php.mkdirTree(dirname(file));
  php.writeFile(file, readFileSync(file));
}
const done = await php.run({ scriptPath: process.argv[2] }).catch((error) => error.response);
process.stdout.write(done.text);
process.stderr.write(done.errors);
process.exit(done.exitCode);
