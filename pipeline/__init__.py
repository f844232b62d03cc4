"""The pipeline: one command a file at the top, and the rooms that they are made of."""
