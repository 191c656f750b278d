"""Engines: where the members of a fleet meet. One call per round and origin; the rules are those of `../ledger.py`.

An engine stores rows and answers reports; it knows nothing of pools, threads or configuration. Start with `sqlite.py`,
the shorter one; `redis.py` runs `bargain.lua` in the server. `opening.py` chooses the engine of a URL.
"""
