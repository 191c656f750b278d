"""The part "pool": the pool itself in C++ and from Python, and what idle connections cost. Start with `part`."""
