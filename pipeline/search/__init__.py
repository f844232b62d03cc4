"""The sweep's engine: spaces, samplers, the study and its queue, the runner of jobs over slots."""
