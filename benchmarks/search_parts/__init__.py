"""Parts of ``python -m benchmarks.search``."""
