"""The pool under httpx clients that are to behave as before: `accelerate` (`client`), the rule that gives way to mocks
and tracers (`seams`), the transports that obey it (`transports` for accelerated clients; `obeying_transport` and
`public_transports` for `HTTPTransport` and `AsyncHTTPTransport`), and the `shortcuts` through httpx.

What may be known here: httpx's and httpcore's inside, always recognised and never assumed. Nothing imports litellm.
Start with `client.py`, then `seams.py`.
"""
