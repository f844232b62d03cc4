"""Data sources: each is read once, checked, and written as plain arrays that workers map into
memory.

>>> data = prepare(config.data, config.root)        # DataSpec of the training images; validation
...                                                 # is split from them
"""

from pipeline.data.preparation import (
    TestSplitClosedError,
    opened_for_evaluation,
    prepare,
    prepare_test,
)

__all__ = ["TestSplitClosedError", "opened_for_evaluation", "prepare", "prepare_test"]
