"""Random streams by name: each a pure function of (seed, name, epoch), so that no state holds a
generator and any epoch can be repeated anywhere.
"""

from numpy.random import SFC64, Generator, SeedSequence

from cnn_core.errors import InputError

# The numbers are part of what a seed means: changing one changes every net.
NAMES = {"init": 1, "shuffle": 2, "augment": 3, "dropout": 4, "evaluate": 5, "proxy": 6}


def stream(seed: tuple[int, ...], name: str, epoch: int = 0, index: int = 0) -> Generator:
    """Return the generator of one purpose in one epoch; `index` distinguishes several of a
    kind, such as the dropout layers of a net.

    Streams of different (seed, name, epoch, index) are independent in the sense of NumPy's
    SeedSequence, whose entropy is `seed` and whose spawn key is the rest and the seed's length
    (entropy is padded with zeros, so (1,) and (1, 0) would otherwise be one seed). SFC64 is NumPy's
    fastest bit generator. Raises InputError for an unknown name or a negative number.
    """
    if name not in NAMES:
        raise InputError(f"stream: name must be one of {', '.join(NAMES)}, got {name!r}")
    if not seed or min(*seed, epoch, index, 0) < 0:
        raise InputError(
            f"stream {name!r}: seed, epoch and index must be at least 0, got seed={seed}, "
            f"epoch={epoch}, index={index}"
        )
    return Generator(
        SFC64(SeedSequence(entropy=seed, spawn_key=(NAMES[name], epoch, index, len(seed))))
    )
