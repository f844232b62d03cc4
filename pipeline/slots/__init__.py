"""Places where nets train: worker processes, a Dask cluster; who owns them, and how they stop."""
