-- Requests as browsers and programs send them: no two neighbours have the same headers.
-- wrk … -- ENCODING|identity TAG|none
local agents = {
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
  "python-requests/2.32.3", "curl/8.5.0", "okhttp/4.12.0",
}
local accepts = { "*/*", "application/json", "text/html,application/xhtml+xml,*/*;q=0.8" }
local number = 0

function init(arguments)
  encoding = arguments[1] ~= "identity" and arguments[1] or nil
  tag = arguments[2] ~= "none" and arguments[2] or nil
end

function request()
  number = number + 1
  local headers = {
    ["User-Agent"] = agents[number % #agents + 1] .. " v" .. number % 9973,
    ["Accept"] = accepts[number % #accepts + 1],
    ["Referer"] = "https://news" .. number % 991 .. ".example/story/" .. number,
    ["Accept-Language"] = "ru,en;q=0." .. number % 9 + 1,
  }
  if encoding then headers["Accept-Encoding"] = encoding end
  if tag then headers["If-None-Match"] = '"x' .. number .. '", ' .. tag end
  return wrk.format("GET", nil, headers)
end

function done(summary, latency, requests)
  io.write(string.format("FIGURES %.3f %d %d %.0f %.0f %d\n", summary.duration / 1e6, summary.requests,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99), summary.bytes))
end
