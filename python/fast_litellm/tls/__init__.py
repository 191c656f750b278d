"""Who speaks TLS, and what is known of a session: from httpx's `verify`, `cert` and `trust_env` to settings of the core
or to an `ssl.SSLContext` (`engine`), and the core's own sessions as users of `ssl.SSLObject` expect them (`session`).

What may be known here: `ssl`, certificates, httpx's arguments. Nothing of pools, requests or litellm.
Start with `engine.py`.
"""
