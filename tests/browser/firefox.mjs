// Prints as JSON how wide each <cbr-rates> is in Firefox: node firefox.mjs BINARY ADDRESS
import puppeteer from "puppeteer-core";
const nobody = "http://127.0.0.1:9";
const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: process.argv[2],
  extraPrefsFirefox: {
    "app.normandy.enabled": false,
    "datareporting.policy.dataSubmissionEnabled": false,
    "services.settings.server": nobody,
    "network.captive-portal-service.enabled": false,
    "network.connectivity-service.enabled": false,
  },
});
const page = await browser.newPage();
await page.goto(process.argv[3]);
await page.waitForFunction(() => !document.querySelector("cbr-rates:not(:state(load))"));
console.log(JSON.stringify(await page.$$eval("cbr-rates", (all) => all.map((one) => one.offsetWidth))));
await browser.close();
