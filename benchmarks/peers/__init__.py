"""The implementations that train the same net side by side: this project's, the plain algorithm of
report 5, and PyTorch in two layouts.

A peer is an object with ``step(index)``, one training step on batch `index`, timed whole, and
``loss()``, its cross-entropy in inference mode on the images `batches.EVALUATED`. All start from
the weights that `ours` draws and see the same batches.
"""
