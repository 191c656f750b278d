"""The pool as a transport of httpx or httpx2: `base` has what both kinds share, `blocking` and `asynchronous` send,
`httpx_classes` makes subclasses of a library's own base classes. Beside them: `limits`, requests with the `trace`
extension (`traced`, `trace_events`), and the `network_stream` extension (`network_stream`, `tls_stream`, `waits`).

What may be known here: httpx's requests and responses, and pools. Nothing of clients, mocks, tracers or litellm:
these transports always send through the pool. Start with `base.py`.
"""
