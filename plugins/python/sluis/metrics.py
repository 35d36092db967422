"""Counters that the tenant's settings declare. In plugin.yaml: `imports: [metrics]`."""

from wit_world.imports import metrics as host


def add(name: str, value: int = 1) -> None:
    """Adds to the counter `name`; `value` is at least 0."""
    host.add(name, value)
