// open-exchange-rates with money. The line of docs/dialects.md says where the API is.
const [line, ...days] = process.argv.slice(2);
const oxr = require("open-exchange-rates");
const fx = require("money");
eval(line);
oxr.set({ app_id: "any" });

function ask(load) {
  return new Promise((resolve, reject) => {
    load((error) => {
      if (error || oxr.error) return reject(new Error(error || oxr.error));
      fx.rates = { ...oxr.rates };
      fx.base = oxr.base;
      resolve({ rates: { ...oxr.rates }, timestamp: oxr.timestamp, converted: fx(100).from("USD").to("RUB") });
    });
  });
}

async function main() {
  const found = { latest: await ask((done) => oxr.latest(done)), sheets: {} };
  for (const day of days) found.sheets[day] = await ask((done) => oxr.historical(day, done));
  found.refusal = await ask((done) => oxr.historical("2026-02-30", done)).catch((error) => error.message);
  console.log(JSON.stringify(found));
}
main();
