"""JSON of a client, read so that a refusal can point at what is wrong, and written with exact amounts."""

from collections.abc import Callable
from datetime import date
from json import JSONDecoder
from json.encoder import encode_basestring as quoted
from math import isfinite
from typing import TypeVar

from .currency import Currency
from .decimal import LARGEST, SMALLEST, Decimal, DecimalError

#: Deepest nesting that is read. Past about a thousand the decoder would run out of stack, and the instance would trap.
DEEPEST = 128

T = TypeVar("T")


class Invalid(Exception):
    """What is wrong in a document, and where. A hook that lets it through refuses with 422 and the pointer."""

    def __init__(self, field: "Field", detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = field.pointer()
        self.kind, self.title = field.words


class Written(str):
    """A number as it was written: what it is taken for is decided where it is looked at."""

    __slots__ = ()


class Field:
    """A place in a document and what stands there; `null` counts as absent."""

    __slots__ = ("value", "parent", "key", "words")

    def __init__(self, value: object, parent: "Field | None", key: str | int, words: tuple[str, str]) -> None:
        self.value = value
        self.parent = parent
        self.key = key
        self.words = words

    def pointer(self) -> str:
        """JSON pointer (RFC 6901); empty for the whole document."""
        steps, at = [], self
        while at.parent is not None:
            steps.append("/" + str(at.key).replace("~", "~0").replace("/", "~1"))
            at = at.parent
        return "".join(reversed(steps))

    def invalid(self, detail: str) -> Invalid:
        """To be raised: `detail` is wrong here, for people."""
        return Invalid(self, detail)

    def exists(self) -> bool:
        """Whether something stands here."""
        return self.value is not None

    def get(self, key: str) -> "Field":
        """The member `key` of the object here; absent if this is."""
        value = self.value
        if type(value) is dict:
            return Field(value.get(key), self, key, self.words)
        if value is None:
            return Field(None, self, key, self.words)
        raise self.invalid("must be an object")

    def object(self) -> "Field":
        """This, which must be an object and be there."""
        if type(self.value) is not dict:
            raise self.invalid("must be an object")
        return self

    def items(self) -> "list[Field]":
        """The elements of the list here; none if it is absent."""
        value = self.value
        if value is None:
            return []
        if type(value) is not list:
            raise self.invalid("must be a list")
        return [Field(item, self, index, self.words) for index, item in enumerate(value)]

    def text(self) -> str:
        """Text, which must be there; empty text is not."""
        text = self.optional_text()
        if text is None:
            raise self.invalid("must be a text that is not empty")
        return text

    def optional_text(self) -> str | None:
        """Text; none where it is absent or empty."""
        text = self.value
        if text is None or text == "":
            return None
        if type(text) is not str or not _is_text(text):
            raise self.invalid("must be a text")
        return text

    def decimal(self) -> Decimal:
        """A decimal number, which must be there: text (`"12.50"`, plain notation) or a number."""
        decimal = self.optional_decimal()
        if decimal is None:
            raise self.invalid("must be a decimal number")
        return decimal

    def optional_decimal(self) -> Decimal | None:
        """A decimal number; none where it is absent."""
        value = self.value
        if value is None:
            return None
        try:
            if type(value) is Written:
                return Decimal.parse_json(value)
            if type(value) is str:
                return Decimal.parse(self.text())
        except DecimalError as error:
            raise self.invalid(str(error)) from None
        raise self.invalid("must be a decimal number")

    def integer(self) -> int:
        """A whole number of 64 bits, which must be there."""
        try:
            if type(self.value) is Written and SMALLEST <= (number := int(self.value)) <= LARGEST:
                return number
        except ValueError:
            pass
        raise self.invalid("must be a whole number")

    def boolean(self, otherwise: bool = False) -> bool:
        """True or false; `otherwise` where it is absent."""
        if self.value is None:
            return otherwise
        if type(self.value) is not bool:
            raise self.invalid("must be true or false")
        return self.value

    def exactly(self, compute: Callable[[], T]) -> T:
        """What `compute` says; where it is no exact decimal, this field is what is wrong."""
        try:
            return compute()
        except DecimalError as error:
            raise self.invalid(str(error)) from None


def read(body: bytes, kind: str = "about:blank", title: str = "Unprocessable Content") -> Field:
    """Reads a body, which must be an object. `kind` is a URI reference that names the kind of problem where something
    is wrong, `title` the same for people."""
    root = Field(None, None, "", (kind, title))
    try:
        text = str(body, "utf-8")
    except UnicodeDecodeError:
        raise root.invalid("not UTF-8") from None
    if _is_deeper(body, DEEPEST):
        raise root.invalid(f"nested more than {DEEPEST} deep")
    try:
        root.value = DECODER.decode(text)
    except ValueError as error:
        raise root.invalid(f"not JSON: {error}") from None
    return root.object()


def write(value: object) -> str:
    """`value` as JSON text: plain values, days, and `Decimal`s, which become numbers of exactly their decimals."""
    return (WRITERS.get(type(value)) or _writer(value))(value)


def _writer(value: object) -> Callable[..., str]:
    """For what is one of these by inheritance only."""
    for kind in type(value).__mro__:
        if kind in WRITERS:
            return WRITERS[kind]
    raise TypeError(f"cannot be written as JSON: {value!r}")


def _object(value: dict) -> str:
    return "{" + ",".join([f"{quoted(key)}:{write(member)}" for key, member in value.items()]) + "}"


def _list(value: list | tuple) -> str:
    return "[" + ",".join(map(write, value)) + "]"


def _float(value: float) -> str:
    if not isfinite(value):
        raise ValueError(f"cannot be written as JSON: {value}")
    return repr(value)


WRITERS: dict[type, Callable[..., str]] = {
    str: quoted,
    Written: str,
    Decimal: str,
    int: int.__repr__,
    float: _float,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    dict: _object,
    list: _list,
    tuple: _list,
    date: lambda value: quoted(value.isoformat()),
    Currency: lambda value: quoted(value.code),
}


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


DECODER = JSONDecoder(parse_float=Written, parse_int=Written, parse_constant=_no_number)


def _is_text(text: str) -> bool:
    """Whether all of it are characters: JSON can escape one half of a surrogate pair."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


#: All bytes but brackets and quotation marks.
OTHERS = bytes(byte for byte in range(256) if byte not in b'[]{}"')


def _is_deeper(body: bytes, deepest: int) -> bool:
    """Whether something is nested so deep that it may not be read: told by the brackets that are left without all
    texts, pairs of them taken away from within. Every body with brackets enough comes here, so all that loops is C."""
    if body.count(b"[") + body.count(b"{") <= deepest:
        return False
    marks = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, OTHERS)
    brackets = b"".join(marks.split(b'"')[::2])
    for _ in range(deepest):
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) == before:
            break
    return len(brackets) > deepest
