"""Data sources: each is read once, checked, and written as plain arrays that workers map into
memory.

>>> data = prepare(config.data, config.root)        # DataSpec of the training images; validation
...                                                 # is split from them
"""

from pipeline.data.preparation import Say, prepare, prepare_test
from pipeline.data.test_split import TestSplitClosedError, opened_for_evaluation

__all__ = ["Say", "TestSplitClosedError", "opened_for_evaluation", "prepare", "prepare_test"]
