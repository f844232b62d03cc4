"""What a study leaves to look at: a journal of events, MLflow runs, pictures, and the live view in
the terminal.
"""
