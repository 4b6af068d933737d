-- Many processes at one upstream or account: one window for all, a part of the limit for each. Time is the server's.
--
-- KEYS[1]   the guesses; of them only the number of their last change is read here
-- KEYS[2…]  one hash for each throttle:
--   v  the window's name     w  the window       o  nobody goes before
--   l  its limit, -1 = none  c  1 while on trial
--   n  the next moment when requests are spaced
--   t  who may try, and u until when
--   m:<process>  "in_flight waiting granted trying seen_at"
-- ARGV[1]   this process; then WIDTH values for each throttle, in the order of `sharing.arguments`
-- Answer:   the time, the guesses' number, then a list for each throttle

local WIDTH = 13
local GONE_S = 3       -- a process that was not seen for so long is gone
local TRIAL_S = 3      -- for so long one process alone may try
local TURN_S = 0.5     -- what cannot be divided goes round
local LONGEST_S = 7200 -- no pause is longer
local KEPT_S = 120     -- a hash outlives its last use by so much, or its pause by half of that

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local me = ARGV[1]

local function seconds(value) return string.format('%.6f', value) end

-- Max-min fairness in whole requests: small wants are met, the others get equal parts, and the rest goes round.
-- Of what nobody wants, a quarter stays for who comes next.
local function part(limit, wants)
  local order = {}
  for id in pairs(wants) do order[#order + 1] = id end
  table.sort(order, function(a, b)
    if wants[a] ~= wants[b] then return wants[a] < wants[b] end
    return a < b
  end)
  local rest, left, first = limit, #order, 1
  local mine = 0
  while first <= #order and wants[order[first]] <= rest / left do
    if order[first] == me then mine = wants[me] end
    rest, left, first = rest - wants[order[first]], left - 1, first + 1
  end
  if left == 0 then
    return mine + math.floor((rest - math.ceil(rest / 4)) / #order)
  end
  local others = {}
  for i = first, #order do others[#others + 1] = order[i] end
  table.sort(others)
  local turn = math.floor(now / TURN_S)
  local whole = math.floor(rest / left)
  local more = rest - whole * left
  for i, id in ipairs(others) do
    if id == me then return whole + (((i - 1 + turn) % left) < more and 1 or 0) end
  end
  return mine
end

local function sync(key, at)
  local base, changed, leaving = ARGV[at], ARGV[at + 1] == '1', ARGV[at + 2] == '1'
  local in_flight, waiting = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local wanted, spacing = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local most, limit, on_trial = tonumber(ARGV[at + 7]), ARGV[at + 8], ARGV[at + 9]
  local trying, opens_at, window = ARGV[at + 10], tonumber(ARGV[at + 11]), ARGV[at + 12]

  local fields, members = {}, {}
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local name, value = all[i], all[i + 1]
    if string.sub(name, 1, 2) == 'm:' then
      local id = string.sub(name, 3)
      local a, b, c, d, seen = string.match(value, '^(%d+) (%d+) (%d+) (%d) ([%d.]+)$')
      if not a or math.abs(now - tonumber(seen)) > GONE_S then
        redis.call('HDEL', key, name)
      elseif id ~= me then
        members[id] = {
          flying = tonumber(a),
          want = a + b,
          held = math.max(tonumber(a), tonumber(c)),
          tries = tonumber(b) > 0 or d == '1',
        }
      end
    else
      fields[name] = value
    end
  end

  -- the window: who began from the one that counts may replace it
  local name, taken = fields.v, 0
  local opens = math.min(tonumber(fields.o) or 0, now + LONGEST_S)
  opens_at = math.min(opens_at, now + LONGEST_S)
  if not name or (changed and name == base) then
    taken = 1
    if opens_at > opens then opens = opens_at end
    fields.w, fields.l, fields.c = window, limit, on_trial
  end
  if taken == 1 or (changed and opens_at > opens) then
    if opens_at > opens then opens = opens_at end
    local fresh = string.format('%.0f', now * 1000000)
    name = (name and tonumber(name) and tonumber(name) >= tonumber(fresh)) and string.format('%.0f', name + 1) or fresh
    redis.call('HSET', key, 'v', name, 'w', fields.w, 'l', fields.l, 'c', fields.c, 'o', seconds(opens))
  end

  local grant, may_try, flying, slots, first = -1, 0, 0, 0, 0
  if leaving then
    redis.call('HDEL', key, 'm:' .. me)
    if fields.t == me then redis.call('HDEL', key, 't', 'u') end
  else
    local wants, held = {[me] = in_flight + waiting}, 0
    for id, member in pairs(members) do
      wants[id], held, flying = member.want, held + member.held, flying + member.flying
    end
    local room = tonumber(fields.l) or -1
    if room < 0 or (most >= 0 and most < room) then room = most end
    if room >= 0 then
      room = math.max(1, math.floor(room))
      grant = math.max(0, math.min(part(room, wants), room - held))
    end
    if fields.c == '1' then
      local tries, rivals = {[me] = waiting > 0 or trying == '1'}, 0
      for id, member in pairs(members) do
        tries[id] = member.tries
        rivals = rivals + (member.tries and 1 or 0)
      end
      local holder, last = fields.t, fields.t
      if holder and (not tries[holder] or now >= (tonumber(fields.u) or 0)) then holder = nil end
      if not holder and tries[me] and (last ~= me or rivals == 0) then -- who had it leaves it to another
        holder = me
        redis.call('HSET', key, 't', me, 'u', seconds(math.max(now, opens) + TRIAL_S))
      end
      may_try = holder == me and 1 or 0
    else
      may_try = 1
      if fields.t then redis.call('HDEL', key, 't', 'u') end
    end
    if spacing > 0 and wanted > 0 then
      first = math.max(now, opens, math.min(tonumber(fields.n) or 0, now + LONGEST_S))
      slots = wanted
      redis.call('HSET', key, 'n', seconds(first + slots * spacing))
    end
    redis.call('HSET', key, 'm:' .. me,
      string.format('%d %d %d %s %s', in_flight, waiting, math.max(0, grant), trying, seconds(now)))
  end
  redis.call('EXPIRE', key, math.ceil(math.max(KEPT_S, opens - now + KEPT_S / 2)))
  return {name, taken, fields.w, seconds(opens), grant, may_try, flying, seconds(first), slots}
end

local answer = {seconds(now), redis.call('HGET', KEYS[1], '#') or ''}
for i = 2, #KEYS do
  answer[#answer + 1] = sync(KEYS[i], 2 + (i - 2) * WIDTH)
end
return answer
