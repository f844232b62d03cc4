"""The sweep's engine: spaces, samplers, the study and its queue, one runner of jobs over slots."""
