// A client that openapi-generator made from our /openapi.json: `ask ADDRESS`.
package main

import (
	"context"
	"encoding/json"
	"os"

	client "example.com/x/ratesvc"
)

func must[T any](value T, _ any, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	settings := client.NewConfiguration()
	settings.Servers[0].URL = os.Args[1]
	api, background := client.NewAPIClient(settings), context.Background()
	today := must(api.RatesAPI.GetRates(background).Codes("USD,IRR").Execute())
	series := must(api.HistoryAPI.GetSeries(background).Codes("USD").Since("2026-04-24").Until("2026-04-27").Execute())
	means := must(api.HistoryAPI.GetPeriods(background).Codes("USD").Since("2026-04-01").Execute())
	converted := must(api.RatesAPI.Convert(background).Amount("100").From("USD").To("EUR").Execute())
	sheets := must(api.HistoryAPI.ListSheets(background).Since("2026-04-24").Execute())
	currencies := must(api.HistoryAPI.ListCurrencies(background).Execute())
	rows := [][]any{}
	for _, row := range series.Rows {
		rows = append(rows, []any{row.Date, row.UnitRate})
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"today":     []any{today.EffectiveDate, *today.Rates["USD"].Value.Get(), *today.Rates["IRR"].Nominal.Get()},
		"number":    must(api.RatesAPI.GetUnitRate(background, "today", "USD").QuoteCurrency("EUR").Execute()),
		"series":    rows,
		"mean":      means.Periods[0].MeanRate,
		"converted": []any{converted.Results["EUR"].UnitRate, converted.Results["EUR"].Result},
		"sheets":    len(sheets.Rows),
		"table":     must(api.HistoryAPI.GetHistoryCsv(background).Codes("USD").Since("2026-04-25").Execute()),
		"known":     currencies.Currencies["IRR"].CbrIds[0],
	})
}
