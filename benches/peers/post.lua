-- wrk's part: posts the order, with the tokens in turn; says at the end what came of it, as one line of JSON.
-- wrk … -s post.lua URL -- TOKENS ORDER   (a file with a token a line, or `-` for none, and a file with the body)

local requests, at = {}, 0

function init(args)
    local file = assert(io.open(args[2], "rb"))
    local order = file:read("*a")
    file:close()
    local fields = {
        ["Content-Type"] = "application/json",
        ["Accept"] = "application/json",
        ["User-Agent"] = "erp-client/1.0",
    }
    if args[1] == "-" then
        requests[1] = wrk.format("POST", "/orders", fields, order)
    else
        for token in io.lines(args[1]) do
            fields["Authorization"] = "Bearer " .. token
            requests[#requests + 1] = wrk.format("POST", "/orders", fields, order)
        end
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        'RESULT {"requests":%d,"micros":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
