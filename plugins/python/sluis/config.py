"""The tenant's settings and secrets. In plugin.yaml: `imports: [config]`."""

from typing import overload

from wit_world.imports import config as host


@overload
def get(key: str) -> str | None: ...
@overload
def get(key: str, otherwise: str) -> str: ...
def get(key: str, otherwise: str | None = None) -> str | None:
    """The value of `key`; `otherwise` where there is none."""
    value = host.get(key)
    return otherwise if value is None else value
