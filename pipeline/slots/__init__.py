"""Slots where nets train (worker processes or a Dask cluster), the owner lock, and stopping."""
