"""What the rest of the package stands on: locks that survive a fork (`locks`), counters, the hook on other packages'
imports (`import_hook`), whether the extension is there (`availability`), and the pool's side of event loops.

What may be known here: Python, and of this package the extension `_core`. Nothing of settings, exceptions, TLS, pools,
httpx or litellm. `import_hook` and `locks` are loaded with the package itself, so they import next to nothing.
Start with `event_loops.py`.
"""
