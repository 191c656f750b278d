"""The part that measures limits shared by processes: what the agent takes, and what a limit adds to a request."""
