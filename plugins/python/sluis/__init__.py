"""What a plugin says of a request or an answer. Nothing here imports a capability: those are modules of their own
(`from sluis import log`), and plugin.yaml lists the ones that are used."""

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
