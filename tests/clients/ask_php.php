<?php
// A client that openapi-generator made from our /openapi.json: `php ask_php.php FOLDER ADDRESS`. It needs Guzzle.
require "GuzzleHttp/autoload.php";
spl_autoload_register(fn ($name) => require $argv[1] . "/lib/" . strtr(substr($name, 8), "\\", "/") . ".php");
$settings = (new Ratesvc\Configuration())->setHost($argv[2]);
$rates = new Ratesvc\Api\RatesApi(null, $settings);
$history = new Ratesvc\Api\HistoryApi(null, $settings);
$day = fn ($date) => $date->format("Y-m-d");
$today = $rates->getRates(codes: "USD,IRR");
$series = $history->getSeries(codes: "USD", since: "2026-04-24", until: "2026-04-27")->getRows();
$converted = $rates->convert(from: "USD", amount: "100", to: "EUR")->getResults()["EUR"];
try {
    $rates->convert(from: "USD", to: "XQZ");
} catch (Ratesvc\ApiException $error) {
    $refused = [$error->getResponseObject()->getType(), $error->getResponseObject()->getStatus()];
}
echo json_encode([
    "today" => [
        $day($today->getEffectiveDate()),
        $today->getRates()["USD"]->getValue(),
        $today->getRates()["IRR"]->getNominal(),
    ],
    "number" => $rates->getUnitRate("today", "USD", "EUR"),
    "series" => array_map(fn ($row) => [$day($row->getDate()), $row->getUnitRate()], $series),
    "mean" => $history->getPeriods(codes: "USD", since: "2026-04-01")->getPeriods()[0]->getMeanRate(),
    "converted" => [$converted->getUnitRate(), $converted->getResult()],
    "sheets" => count($history->listSheets(since: "2026-04-24")->getRows()),
    "table" => $history->getHistoryCsv(codes: "USD", since: "2026-04-25"),
    "known" => $history->listCurrencies()->getCurrencies()["IRR"]->getCbrIds()[0],
    "flags" => $today->getFlags(),
    "refused" => $refused,
]);
