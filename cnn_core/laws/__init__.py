"""What every layer, net, optimizer, schedule and augmentation must keep to, the project's own and a
plug-in's: one home of the laws that the tests and ``python -m pipeline.check`` hold them to. A law
is a function that raises AssertionError where it is broken.
"""
