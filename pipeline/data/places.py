"""Where data lie: the user's own folders, $CNN_DATA_DIR, the user's cache."""

import os
from pathlib import Path

from cnn_core.errors import InputError

CACHE_NAME = "numpy-cnn-sweep"


def user_cache() -> Path:
    """Return the platform's cache folder for this project; it need not exist."""
    import pooch  # and with it requests: only who looks for data there waits for them

    return Path(pooch.os_cache(CACHE_NAME))


def shared_folder(name: str) -> Path | None:
    """Return $CNN_DATA_DIR/<name>, or None where the variable is not set."""
    shared = os.environ.get("CNN_DATA_DIR")
    return Path(shared).expanduser() / name if shared else None


def resolve(path: str, root: str | None, name: str) -> Path:
    """Return an existing file or folder: `path` as it is, or below data.root, or below $CNN_DATA_DIR/<name>.

    Raises InputError with the places that were looked at.
    """
    given = Path(path).expanduser()
    shared = shared_folder(name)
    starts = [Path(root).expanduser()] if root else [Path.cwd(), *([shared] if shared else [])]
    places = [given] if given.is_absolute() else [start / given for start in starts]
    for place in places:
        try:
            if place.exists():
                return place.resolve()
        except OSError as error:
            raise InputError(f"data={name}: must be a path, got {path[:200]!r} ({error.strerror})") from error
    raise InputError(f"data={name}: {path} must exist, looked at {', '.join(map(str, places))}")
