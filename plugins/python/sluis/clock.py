"""The time, no finer than a millisecond. In plugin.yaml: `imports: [clock]`. The interpreter's own clocks trap."""

from wit_world.imports import clock as host


def now() -> int:
    """Milliseconds since 1970-01-01T00:00:00Z."""
    return host.now()
