"""The pipeline: one file per command at the top, and the rooms that they are built from."""
