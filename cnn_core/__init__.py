"""A convolutional net in NumPy alone: layers, training, data, augmentation; independent of the
pipeline.
"""
