"""Text tables and parquet: which columns are pixels, label and id, and their rows as blocks."""
