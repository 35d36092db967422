"""Small durable state of the tenant's own. In plugin.yaml: `imports: [kv]`. Values are text or bytes; times to live are
in seconds. Every function raises a `Fault` where nothing was done: "quota", "unavailable" …"""

from componentize_py_types import Err
from wit_world.imports import kv as host

from .fault import Fault

Value = str | bytes


def get(key: str) -> bytes | None:
    """The value of `key`; none where there is none."""
    return _told(host.get, key)


def get_text(key: str) -> str | None:
    """The same as text."""
    value = get(key)
    return None if value is None else value.decode()


def set(key: str, value: Value, ttl: int | None = None) -> None:
    """Keeps `value`."""
    _told(host.set, key, _bytes(value), ttl)


def swap(key: str, expected: Value | None, value: Value, ttl: int | None = None) -> bool:
    """As `set`, if the value is `expected` now (none: if there is none). Whether it was."""
    return _told(host.swap, key, None if expected is None else _bytes(expected), _bytes(value), ttl)


def add(key: str, by: int = 1, ttl: int | None = None) -> int:
    """Adds to a decimal number, 0 where there is none. The sum."""
    return _told(host.add, key, by, ttl)


def delete(key: str) -> bool:
    """Forgets `key`. Whether there was a value."""
    return _told(host.delete, key)


def _bytes(value: Value) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _told(ask, *words):
    try:
        return ask(*words)
    except Err as fault:
        raise Fault(fault.value) from None
