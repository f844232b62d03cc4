"""A convolutional net in NumPy alone: layers, training, data, augmentation; it stands without the
pipeline.
"""
