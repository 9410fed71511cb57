"""Where the library stands beside its peers: `python -m benchmarks`."""
