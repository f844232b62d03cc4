"""The page to try a model by drawing: what the net sees, what it answers, and the small server on
127.0.0.1.
"""
