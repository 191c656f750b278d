"""What the rest of the package stands on: locks that survive a fork (`locks`), counters, the hook on other packages'
imports (`import_hook`), whether the extension is there (`availability`), and the pool's side of event loops.

What may be known here: Python, of this package the extension `_core`, and of litellm the names of the modules that
`import_hook` awaits. Nothing of settings, exceptions, TLS, pools or httpx. `import_hook` is loaded with the package
itself, so it imports next to nothing. Start with `event_loops.py`.
"""
