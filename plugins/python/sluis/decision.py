"""What becomes of a request, and what is changed of an answer."""

from collections.abc import Iterable, Mapping

from wit_world.imports import types

from . import json as documents

Headers = Mapping[str, str]
Body = str | bytes | bytearray | None

#: Where no document is named: None is one, `null`.
ABSENT: object = object()


class Decision(Exception):
    """What becomes of a request: made by the functions below. A hook may return it, or raise it."""

    def __init__(self, said: types.Decision) -> None:
        super().__init__(type(said).__name__)
        self.said = said


def forward(
    *,
    upstream: str | None = None,
    path: str | None = None,
    set_headers: Headers = {},
    remove_headers: Iterable[str] = (),
    body: Body = None,
    json: object = ABSENT,
) -> Decision:
    """Send the request on, unchanged but for what is named; `json` is a new body with its media type."""
    content, fields = _content(body, json)
    fields += _pairs(set_headers)
    said = types.Forward(_optional(upstream), _optional(path), fields, _texts(remove_headers), content, [])
    return Decision(types.Decision_Forward(said))


def enqueue(
    *,
    event_type: str | None = None,
    key: str | None = None,
    content_type: str | None = None,
    sinks: Iterable[str] = (),
    body: Body = None,
    json: object = ABSENT,
) -> Decision:
    """Keep the request durably and deliver it later; the client gets 202. Events of one `key` come in order."""
    content, fields = _content(body, json)
    if content_type is None and fields:
        content_type = fields[0][1]
    media_type = _optional(content_type)
    said = types.Enqueue(_optional(event_type), _optional(key), media_type, content, _texts(sinks), [])
    return Decision(types.Decision_Enqueue(said))


def respond(status: int, *, headers: Headers = {}, body: Body = None, json: object = ABSENT) -> Decision:
    """Answer at once; `status` is 200 to 599."""
    content, fields = _content(body, json)
    said = types.Respond(_status(status), fields + _pairs(headers), content or b"", [])
    return Decision(types.Decision_Respond(said))


def refuse(status: int, kind: str, title: str, detail: str = "", pointer: str | None = None) -> Decision:
    """Refuse; the client gets problem+json (RFC 9457). `status` is 400 to 599, `kind` a URI reference that names the
    kind of problem, `title` one line for people, `detail` what is wrong with this request, `pointer` a JSON pointer
    (RFC 6901) to what is wrong in the body."""
    said = types.Problem(_status(status), _text(kind), _text(title), _text(detail), _optional(pointer), [])
    return Decision(types.Decision_Refuse(said))


def change(
    *,
    status: int | None = None,
    set_headers: Headers = {},
    remove_headers: Iterable[str] = (),
    body: Body = None,
    json: object = ABSENT,
    media_type: str = "application/json",
) -> types.ResponseChange:
    """Change an answer before the client sees it; what is not named stays. `media_type` is that of `json`."""
    content, fields = _content(body, json, media_type)
    fields += _pairs(set_headers)
    status = None if status is None else _status(status)
    return types.ResponseChange(status, fields, _texts(remove_headers), content, [])


def header(message: types.Request | types.Response, name: str) -> str | None:
    """The first field of this lower-case name."""
    return next((value for field, value in message.headers if field == name), None)


def _content(body: Body, json: object, media_type: str = "application/json") -> tuple[bytes | None, list]:
    if json is not ABSENT:
        return documents.write(json).encode(), [("content-type", _text(media_type))]
    if body is None or isinstance(body, (bytes, bytearray)):
        return None if body is None else bytes(body), []
    return _text(body).encode(), []


# What is not as the contract has it would trap behind the hook, where nobody can say why.


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"must be a str: {value!r}")
    # Half of a surrogate pair is no text.
    return value if value.isascii() else value.encode().decode()


def _optional(value: str | None) -> str | None:
    return None if value is None else _text(value)


def _texts(values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"must be a list: {values!r}")
    return [_text(value) for value in values]


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    return [(_text(name), _text(value)) for name, value in headers.items()]


def _status(value: int) -> int:
    if not isinstance(value, int) or not 200 <= value <= 599:
        raise ValueError(f"must be a status: {value!r}")
    return value
