"""Whether the native extension can be loaded on this platform."""

#: Why it cannot, in the words of the import system; empty while it can or was not asked for.
reason = ""


def acceleration_available() -> bool:
    """True if the native pool is there. Loads the extension; never raises."""
    global reason
    try:
        from .. import _core  # noqa: F401
    except ImportError as error:
        reason = str(error)
        return False
    reason = ""
    return True
