"""The benchmark. `bench.run` is its command; every other module serves one part of it, or all (`common`)."""
