"""Requests to the systems that the tenant's settings name. In plugin.yaml: `imports: [http-client]`."""

from collections.abc import Mapping

from componentize_py_types import Err
from wit_world.imports import http_client as host
from wit_world.imports.http_client import Answer

from .fault import Fault


def send(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] = {},
    body: str | bytes = b"",
    timeout: int = 1000,
) -> Answer:
    """Sends a request and waits for the whole answer, for `timeout` milliseconds at most. Raises a `Fault` where there
    is none: "timeout" …"""
    content = body.encode() if isinstance(body, str) else body
    try:
        return host.send(host.Request(method, url, list(headers.items()), content, []), timeout)
    except Err as fault:
        raise Fault(fault.value) from None
