"""The pool as Python uses it: `SimpleConnectionPool` and the functions on the pool "default" (`simple_pool`), one
connection for a `with` block (`lease`), warnings about leaked leases (`leaks`), statistics for exporters (`metrics`),
and what of Python's `socket` is replaced (`replaced_sockets`). The extension calls the last and `leaks` by name.

What may be known here: settings, TLS engines, leases, whole requests on them. Nothing of httpx's clients and
transports.
Start with `simple_pool.py`.
"""
