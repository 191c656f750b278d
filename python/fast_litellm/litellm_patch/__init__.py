"""The pool under litellm and the SDKs: how attributes are replaced and given back (`points`), where httpx gives a
client its transport (`clients`), who is constructing it (`scope`), what becomes of it (`decision`, `rollout`),
transports that litellm and the SDKs make themselves (`own_transport`, and `aiohttp_transport` for those of aiohttp),
litellm's TLS contexts (`tls_recipe`), and its caches (`caches`).

What may be known here: litellm; no other room knows it. `patch` alone imports it, and hands in what the others need.
Start with `patch.py`.
"""
