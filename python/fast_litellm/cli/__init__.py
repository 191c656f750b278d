"""The command ``fast-litellm``, also ``python -m fast_litellm``.

``fast-litellm run`` needs nothing else; the other commands need the extra ``cli``, and ``fast-litellm demo`` also
``litellm`` and ``server``.

What may be known here: the package's public surface, its settings, and the embedded server. Nothing else imports this
folder. Start with `main.py`.
"""
