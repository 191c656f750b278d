"""``fast-litellm demo``: real litellm, stock and accelerated, against one server. `run` leads, `worker` is the client
process, `phases` the kinds of calls, `report` the tables, `picture` the drawing.

What may be known here: what `cli` may know, litellm in `worker`, rich in `run` and `report`, matplotlib in `picture`.
Start with `run.py`.
"""
