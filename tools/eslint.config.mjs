import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    languageOptions: { globals: globals.browser },
    rules: { "no-empty": ["error", { allowEmptyCatch: true }] },
  },
  { files: ["**/*.mjs", "tests/clients/*.js"], languageOptions: { globals: globals.node } },
];
