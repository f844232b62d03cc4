"""The one exception for what a user gave wrong; commands turn it into one line and exit code 2."""


class InputError(ValueError):
    """An input breaks a rule. The message states the rule, what was received, and where.

    Example: ``convolution "conv1": kernel must fit in the padded input, got kernel 5x5, input
    3x3``.
    """
