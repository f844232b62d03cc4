"""A study's database for whoever only looks at it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from cnn_core.errors import InputError
from pipeline.search.checked_storage import CheckedStorage, content_checked
from pipeline.search.storage_errors import unreadable_refused

CHANGES = frozenset(
    {
        *("create_new_study", "delete_study", "set_study_user_attr", "set_study_system_attr"),
        *("create_new_trial", "_create_new_trial", "set_trial_param", "set_trial_state_values"),
        *("set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr"),
    }
)  # the methods of Optuna's storages that write


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    with unreadable_refused(), content_checked(name):
        yield


class ReadOnlyStorage(CheckedStorage):
    """A study's database for looking at it: what would change it raises InputError."""

    _reading = staticmethod(_reading)

    def __getattribute__(self, name: str) -> Any:
        if name in CHANGES:
            raise InputError(
                "study: its sweep alone writes to it, this is a view for reading, got "
                f"{name.strip('_')}"
            )
        return super().__getattribute__(name)
