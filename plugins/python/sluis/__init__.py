"""What a plugin says of a request or an answer. Nothing here imports a capability: those are modules of their own
(`from sluis import log`), and plugin.yaml lists the ones that are used.

The interpreter is started where the plugin is built, and every call goes on from there: a call has no files, so what it
uses is imported at the top of a module; it has no clock but the capability; and `random` says the same in each."""

from wit_world.imports.types import Request, Response, ResponseChange

from .currency import Currency
from .day import Day
from .decimal import Decimal, DecimalError, Inexact
from .decision import Decision, change, enqueue, forward, header, refuse, respond
from .json import Field, Invalid

__all__ = [
    "Currency",
    "Day",
    "Decimal",
    "DecimalError",
    "Decision",
    "Field",
    "Inexact",
    "Invalid",
    "Request",
    "Response",
    "ResponseChange",
    "change",
    "enqueue",
    "forward",
    "header",
    "refuse",
    "respond",
]
