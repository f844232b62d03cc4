"""A study's database for whoever only looks at it."""

from typing import Any

from optuna.storages import RDBStorage

from cnn_core.errors import InputError

CHANGES = frozenset(
    {
        *("create_new_study", "delete_study", "set_study_user_attr", "set_study_system_attr"),
        *("create_new_trial", "_create_new_trial", "set_trial_param", "set_trial_state_values"),
        *("set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr"),
    }
)  # the methods of Optuna's storages that write


class ReadOnlyStorage(RDBStorage):
    """A study's database for looking at it: what would change it raises InputError."""

    def __getattribute__(self, name: str) -> Any:
        if name in CHANGES:
            raise InputError(
                "study: its sweep alone writes to it, this is a view for reading, got "
                f"{name.strip('_')}"
            )
        return super().__getattribute__(name)
