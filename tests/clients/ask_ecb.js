// ecb-euro-exchange-rates and currencyjs, whose address is in their code: this does what a hosts file does.
const net = require('net')
const [name, host, tlsPort, port] = process.argv.slice(2)
const connect = net.Socket.prototype.connect
net.Socket.prototype.connect = function (...given) {
  const options = Array.isArray(given[0]) ? given[0][0] : given[0]
  if (options.host === name) Object.assign(options, { host, port: Number(options.port) === 443 ? tlsPort : port })
  return connect.apply(this, given)
}
const ecb = require('ecb-euro-exchange-rates')
const CurrencyJS = require('currencyjs')

async function main() {
  const feed = await new Promise((resolve, reject) =>
    new CurrencyJS()._fetchDataFeed((error, rows) => (error ? reject(error) : resolve(rows)))
  )
  const rows = feed.map((row) => [row.getFormattedDate(), row.currency, row.getRate()])
  const found = [await ecb.fetch(), (await ecb.fetchHistoric90d())[0], ...(await ecb.fetchHistoric())]
  console.log(JSON.stringify({ ecb: found.map(({ time, rates }) => [time, rates]), currencyjs: rows }))
}
main()
