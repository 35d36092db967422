"""What a plugin says of an event on its way to a sink, and of the sink's answer. In plugin.yaml: `hooks: [on-event]`."""

from wit_world.exports.on_event import (
    Answer,
    Event,
    Preparation_Dead,
    Preparation_Done,
    Preparation_Send,
    Shaped,
    Verdict_Dead,
    Verdict_Done,
    Verdict_Retry,
)

from .decision import ABSENT, Body, Headers, _content, _optional, _pairs, _text

__all__ = ["Answer", "Event", "Preparation", "Verdict", "dead", "done", "retry", "send"]


class Said(Exception):
    """What becomes of an attempt, or what an answer means. A hook may return it, or raise it."""


class Preparation(Said):
    """Of `shape`: made by `send`, `done` and `dead`."""


class Verdict(Said):
    """Of `judge`: made by `done`, `retry` and `dead`."""


class Over(Preparation, Verdict):
    """Of both."""

    def __init__(self, preparation: object, verdict: object) -> None:
        super().__init__(type(preparation).__name__)
        self.preparation = preparation
        self.verdict = verdict


def send(
    *,
    content_type: str | None = None,
    set_headers: Headers = {},
    body: Body = None,
    json: object = ABSENT,
) -> Preparation:
    """Send the event, unchanged but for what is named; what was accepted stays as it is."""
    content, fields = _content(body, json)
    if content_type is None and fields:
        content_type = fields[0][1]
    said = Preparation("send")
    said.preparation = Preparation_Send(Shaped(_optional(content_type), _pairs(set_headers), content, []))
    return said


def done(reason: str) -> Over:
    """The sink has the event, or needs none of it; `reason` is kept in its history."""
    return Over(Preparation_Done(_text(reason)), Verdict_Done(_text(reason)))


def dead(reason: str) -> Over:
    """The event is a dead letter for this sink; `reason` is kept with it."""
    return Over(Preparation_Dead(_text(reason)), Verdict_Dead(_text(reason)))


def retry(seconds: int | None = None) -> Verdict:
    """Try again after so many seconds, or by the sink's settings."""
    if seconds is not None and (not isinstance(seconds, int) or not 0 <= seconds < 1 << 32):
        raise ValueError(f"must be whole seconds: {seconds!r}")
    said = Verdict("retry")
    said.verdict = Verdict_Retry(seconds)
    return said
