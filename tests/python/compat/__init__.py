"""The matrix of compatibility: every operation with every provider, stock and accelerated, for one litellm.

`cells` says what is tried, `worker` does it in a process of its own under the interpreter that is asked about, `matrix`
runs three of these against one server and collects what came back and what the server saw, `comparing` judges. The same
for the SDKs without litellm: `sdk_cells`, `sdk_worker`. `reporting` is what the workers have in common.
"""
