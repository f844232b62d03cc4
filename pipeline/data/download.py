"""Where the files of a published set are looked for, and how they are downloaded: nothing stays
that was not verified.
"""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.configuration.data_settings import PublishedSettings
from pipeline.data.source import shared_folder, user_cache

TIMEOUT_S = 20.0  # without receiving a byte


def places(settings: PublishedSettings, folder: str) -> list[Path]:
    """Return the folders to look into: data.root alone, or $CNN_DATA_DIR/`folder` and the user's
    cache, the last.
    """
    if settings.root is not None:
        return [Path(settings.root).expanduser()]
    return [place for place in (shared_folder(folder), user_cache() / folder) if place is not None]


def fetch(
    settings: PublishedSettings,
    addresses: Sequence[str],
    target: Path,
    verify: Callable[[Path], object],
    advice: str,
) -> None:
    """Download `target` from the first address that answers with the right bytes; `verify` raises
    ValueError for wrong ones. Raises InputError, with `advice`, where none does, or where
    data.download=false.
    """
    name = target.name.removesuffix(".gz")
    sought = dict.fromkeys(map(str, places(settings, target.parent.name)))
    looked = f"data={settings.name}: {name} must be there"
    where = f"not in {' or '.join(sought)}"
    if not settings.download:
        raise InputError(f"{looked}, {where}, and data.download=false: {advice}")
    reasons = []
    for address in addresses:
        try:
            download(address, target, verify)
            return
        except (OSError, ValueError) as error:
            unreached = f"cannot be reached ({type(error).__name__})"
            reasons.append(f"{address}: {error if isinstance(error, InputError) else unreached}")
    raise InputError(
        f"{looked} or be downloaded, {where}; {'; '.join(reasons)}. Offline? Then {advice}"
    )


def download(address: str, target: Path, verify: Callable[[Path], object]) -> None:
    """Fetch `address` into `target`; `verify` raises ValueError for wrong bytes, and nothing is
    then left behind.

    Raises OSError where the address cannot be reached (requests' errors are OSErrors) or answers
    with an error.
    """
    import pooch  # and with it requests: imported for a download only

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    retrieve = pooch.HTTPDownloader(progressbar=False, timeout=TIMEOUT_S)
    try:
        retrieve(address, str(temporary), None)
        verify(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
