"""The part "h2": clients over HTTP/2 beside the same over HTTP/1.1, against nginx. `part` says which clients do what,
`server` starts nginx, `clients` opens the Python clients, `worker` is a client's process, `rounds` measures, `targets`
and `report` print."""
