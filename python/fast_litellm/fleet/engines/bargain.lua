-- One round of one member for one origin: the rules of ledger.py and the decision of bargain.py, step by step in their
-- order. Tests run both on the same reports and compare every answer and every row. The sums over all members are kept
-- beside the rows, so a round takes O(log members).
--
-- KEYS: state (hash), rows (hash), seen, suspects, limits, queue (sorted sets); all in one slot.
-- ARGV: member, epoch, held, in_use, waiting, limit, degraded, ttl, heartbeat, settle, turn, now, run
--       now and run are empty but in tests: the server's clock and run id.
-- Returns: {allotment, members, limit, content}, or {-1} for a report that is not newer than the last one.

local state_key, rows_key, seen_key, suspects_key, limits_key, queue_key = unpack(KEYS)
local name = ARGV[1]
local epoch, held, in_use, waiting = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local own_limit, degraded = tonumber(ARGV[6]), ARGV[7] == '1'
local ttl, heartbeat, settle, turn = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local now, run = tonumber(ARGV[12]), ARGV[13]

if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
if run == '' then
  -- A user of Redis may not be allowed INFO. Then a restart shows only by what was lost.
  local info = redis.pcall('INFO', 'server')
  run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or 'unknown'
end

local function text(number) return string.format('%.17g', number) end

-- A row: epoch, allotment, reserved, in_use, waiting, short, ticket, turn_since.
local function row_of(member)
  local packed = redis.call('HGET', rows_key, member)
  if not packed then return nil end
  local row = {}
  for part in string.gmatch(packed, '[^ ]+') do row[#row + 1] = tonumber(part) end
  return row
end

local names = {'run', 'frozen_until', 'tickets', 'reserved', 'wanting', 'wishes', 'short', 'last', 'clock', 'members'}
local stored = redis.call('HMGET', state_key, unpack(names))
-- Redis evicts single keys. What is left then contradicts itself: all of it is void, and no member gets more than it holds
-- until every allotment of which nothing is known has lapsed. (A loss of the suspects alone only delays forgetting.)
local known = redis.call('HLEN', rows_key)
local lost = known ~= tonumber(stored[10] or 0) or known ~= redis.call('ZCARD', seen_key)
  or known ~= redis.call('ZCARD', limits_key) or redis.call('ZCARD', queue_key) ~= tonumber(stored[5] or 0)
if lost or not stored[10] then
  redis.call('DEL', unpack(KEYS))
  stored = {}
  if lost then stored[2], stored[8] = ttl, now end
end
local known_run = stored[1] or ''
local frozen_until, tickets = tonumber(stored[2] or 0), tonumber(stored[3] or 0)
local sum = {
  reserved = tonumber(stored[4] or 0), wanting = tonumber(stored[5] or 0),
  wishes = tonumber(stored[6] or 0), short = tonumber(stored[7] or 0),
}
local last, clock = tonumber(stored[8] or 0), tonumber(stored[9] or 0)
local function count(row, sign)
  local demand = row[4] + row[5]
  sum.reserved = sum.reserved + sign * row[3]
  sum.short = sum.short + sign * row[6]
  if demand > 0 then
    sum.wanting = sum.wanting + sign
    sum.wishes = sum.wishes + sign * (demand - 1)
  end
end
local function forget(member, row)
  count(row, -1)
  redis.call('HDEL', rows_key, member)
  redis.call('ZREM', seen_key, member)
  redis.call('ZREM', suspects_key, member)
  redis.call('ZREM', limits_key, member)
  redis.call('ZREM', queue_key, member)
end

local old = row_of(name)
if old and epoch <= old[1] then return {-1} end

clock = clock + math.min(math.max(now - last, 0), heartbeat)
if run ~= known_run then
  known_run = run
  frozen_until = math.max(frozen_until, clock + settle)
end

-- Who is silent.
for _, member in ipairs(redis.call('ZRANGEBYSCORE', seen_key, '(' .. text(now), '+inf')) do
  redis.call('ZADD', seen_key, text(now), member)
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', seen_key, '-inf', text(now - 2 * heartbeat))) do
  local since = tonumber(redis.call('ZSCORE', suspects_key, member) or -1)
  if since < 0 then
    redis.call('ZADD', suspects_key, text(clock), member)
  elseif clock - since >= ttl - heartbeat then
    forget(member, row_of(member))
  end
end

old = row_of(name)
local ticket, turn_since, before
if not old then
  if held > 0 and not degraded then frozen_until = clock + ttl end
  tickets = tickets + 1
  ticket, turn_since, before = tickets, clock, 0
else
  forget(name, old)
  ticket, turn_since, before = old[7], old[8], old[2]
end

local others = redis.call('ZCARD', seen_key)
local limit = own_limit
local least_of_others = redis.call('ZRANGE', limits_key, 0, 0, 'WITHSCORES')
if least_of_others[2] then limit = math.min(limit, tonumber(least_of_others[2])) end
local demand = in_use + waiting
local members = others + 1
local wanting = sum.wanting + (demand > 0 and 1 or 0)
local ahead = 0
if members > limit then
  if wanting > limit and held > 0 and clock - turn_since >= turn then
    tickets = tickets + 1
    ticket = tickets
  end
  ahead = redis.call('ZCOUNT', queue_key, '-inf', '(' .. text(ticket))
end

-- The decision.
local wish = demand > 1 and demand - 1 or 0
local free = limit - sum.reserved
local hungry = waiting > 0
local claims = members <= limit and members or wanting
local needed = claims + sum.wishes + wish
local scarce = needed > limit
local turns = claims > limit
local share
if members > limit and demand == 0 then
  share = 0
elseif turns then
  share = ahead < limit and 1 or 0
elseif scarce then
  share = 1 + (limit - claims) * wish / (sum.wishes + wish)
else
  share = 1 + wish + (limit - needed) / (2 * claims)
end

local least = math.floor(share)
local most = sum.short == 0 and math.ceil(share) or least
local wanted
if turns or (held > most and (not hungry or sum.short > 0)) then
  wanted = least
elseif held > most or (held >= least and not hungry) then
  wanted = held
else
  wanted = hungry and most or least
end
local allotment = math.max(0, math.min(wanted, free, limit))
if clock < frozen_until then allotment = math.min(allotment, held) end

local short
if allotment == 0 then
  short = least > 0
elseif not hungry then
  short = false
elseif scarce then
  short = least - allotment > math.max(0, share - 6) / 8
else
  short = allotment < demand
end
local reserved = math.max(allotment, held, in_use)
local content = not short and (scarce or not hungry)
if allotment > 0 and before == 0 then turn_since = clock end

-- What is kept.
local row = {epoch, allotment, reserved, in_use, waiting, short and 1 or 0, ticket, turn_since}
count(row, 1)
local packed = {}
for at, number in ipairs(row) do packed[at] = text(number) end
redis.call('HSET', rows_key, name, table.concat(packed, ' '))
redis.call('ZADD', seen_key, text(now), name)
redis.call('ZADD', limits_key, text(own_limit), name)
if demand > 0 then redis.call('ZADD', queue_key, text(ticket), name) end
redis.call('HSET', state_key, 'run', known_run, 'frozen_until', text(frozen_until), 'tickets', text(tickets),
  'last', text(now), 'clock', text(clock), 'reserved', sum.reserved, 'wanting', sum.wanting, 'wishes', sum.wishes,
  'short', sum.short, 'members', members)
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, 86400) end
return {allotment, members, limit, content and 1 or 0}
