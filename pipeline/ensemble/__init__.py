"""From a study to an ensemble: which nets, their training, out-of-fold predictions, the members'
weights.
"""
