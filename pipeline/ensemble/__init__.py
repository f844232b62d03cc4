"""From a study to an ensemble: choice of nets, their training, out-of-fold predictions, members'
weights.
"""
