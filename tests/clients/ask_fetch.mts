// openapi-fetch with the types that openapi-typescript made from our /openapi.json: `node ask_fetch.mjs ADDRESS`.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

declare const process: { argv: string[] };
const { GET } = createClient<paths>({ baseUrl: process.argv[2] });
const given = <T,>(answer: { data?: T; error?: unknown }): T => {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
};
const range = { codes: "USD", since: "2026-04-24", until: "2026-04-27" };
const [today, number, series, means, converted, sheets, table, currencies] = await Promise.all([
  GET("/v1/rates", { params: { query: { codes: "USD,IRR" } } }).then(given),
  GET("/v1/rates/{date}/{code}.txt", {
    params: { path: { date: "today", code: "USD" }, query: { quote_currency: "EUR" } },
    parseAs: "text",
  }).then(given),
  GET("/v1/series", { params: { query: range } }).then(given),
  GET("/v1/periods", { params: { query: { codes: "USD", since: "2026-04-01" } } }).then(given),
  GET("/v1/convert", { params: { query: { amount: "100", from: "USD", to: "EUR" } } }).then(given),
  GET("/v1/sheets", { params: { query: { since: "2026-04-24" } } }).then(given),
  GET("/v1/history.csv", { params: { query: { codes: "USD", since: "2026-04-25" } }, parseAs: "text" }).then(given),
  GET("/v1/currencies").then(given),
]);
const told: [string, number][] = series.rows.map((row) => [row.date, row.unit_rate]);
const [mean] = means.periods;
// @ts-expect-error -- a mean is no rate of a day
mean.unit_rate;
console.log(
  JSON.stringify({
    today: [today.effective_date, today.rates.USD.value, today.rates.IRR.nominal],
    number,
    series: told,
    mean: mean.mean_rate,
    converted: [converted.results.EUR.unit_rate, converted.results.EUR.result],
    sheets: sheets.rows.length,
    table,
    known: currencies.currencies.IRR.cbr_ids[0],
  }),
);
