"""From command line and conf/ to a typed, checked configuration; `pipeline.config` is the door."""
