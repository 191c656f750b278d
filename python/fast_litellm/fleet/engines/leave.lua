-- A member leaves: its row goes, and the sums without it. KEYS as in bargain.lua; ARGV: member.
local state_key, rows_key = KEYS[1], KEYS[2]
local packed = redis.call('HGET', rows_key, ARGV[1])
if not packed then return 0 end
local row = {}
for part in string.gmatch(packed, '[^ ]+') do row[#row + 1] = tonumber(part) end
local demand = row[4] + row[5]
local function add(name, number) redis.call('HINCRBY', state_key, name, string.format('%d', number)) end
add('members', -1)
add('reserved', -row[3])
add('short', -row[6])
if demand > 0 then
  add('wanting', -1)
  add('wishes', 1 - demand)
end
redis.call('HDEL', rows_key, ARGV[1])
for at = 3, 6 do redis.call('ZREM', KEYS[at], ARGV[1]) end
return 1
