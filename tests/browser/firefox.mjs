// Prints as JSON what a function of a page's <cbr-rates> says in Firefox: node firefox.mjs BINARY ADDRESS FUNCTION
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
console.log(JSON.stringify(await page.evaluate(`[...document.querySelectorAll("cbr-rates")].map(${process.argv[4]})`)));
await browser.close();
