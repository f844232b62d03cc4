"""What `pipeline.show` prints: spaces as trees, studies as tables, a trial with its curve."""
