"""The servers that the tests talk to: nginx, an ASGI server, HTTP/2 servers, and those whose every byte a test decides.

Each listens on a free loopback port, counts what it sees, and is stopped by the fixture that started it.
"""
