"""The arithmetic of convolutions: windows, working memory, and the two ways to correlate images
with kernels.
"""
