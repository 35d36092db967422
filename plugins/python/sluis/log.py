"""Lines for the tenant's log. In plugin.yaml: `imports: [log]`."""

from wit_world.imports import log as host


def debug(message: object) -> None:
    """What the developer wants to know."""
    host.write("debug", str(message))


def info(message: object) -> None:
    """What happened."""
    host.write("info", str(message))


def warn(message: object) -> None:
    """What somebody should look at."""
    host.write("warn", str(message))


def error(message: object) -> None:
    """What went wrong."""
    host.write("error", str(message))
