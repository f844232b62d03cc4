"""The one way in which a law says that it is broken, also where Python drops its asserts."""


def hold(condition: object, broken: str) -> None:
    """Raise AssertionError, which says how, where a condition does not hold."""
    if not condition:
        raise AssertionError(broken)
