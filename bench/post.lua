-- SPDX-License-Identifier: Apache-2.0
-- wrk script: POST the file $BODY with the headers in $HDRS ("K: v|K2: v2")
local f = assert(io.open(os.getenv("BODY"), "rb")); wrk.body = f:read("*a"); f:close()
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
for h in (os.getenv("HDRS") or ""):gmatch("[^|]+") do
  local k, v = h:match("^%s*([^:]+):%s*(.*)$"); if k then wrk.headers[k] = v end
end
function done(s, l, r)
  io.write(string.format("RESULT %.1f %.3f %.3f %.3f %d %d\n", s.requests / s.duration * 1e6,
    l:percentile(50) / 1000, l:percentile(99) / 1000, l.max / 1000, s.errors.status,
    s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout))
end
