"""Exact decimal numbers: amounts never pass through a float."""

import re

#: Most decimals, and most digits that are read.
MOST = 18
#: What 64 bits hold.
SMALLEST, LARGEST = -(2**63), 2**63 - 1
PLAIN = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
#: Ten digits are more than one that fits can have.
EXPONENT = re.compile(r"([+-]?)0*([0-9]{1,10})")


class DecimalError(ArithmeticError):
    """There is no such decimal."""


class Malformed(DecimalError):
    """The text is not a decimal number."""

    def __init__(self) -> None:
        super().__init__("not a decimal number")


class Overflow(DecimalError):
    """More digits than can be kept exactly."""

    def __init__(self) -> None:
        super().__init__("too large to be kept exactly")


class Inexact(DecimalError):
    """The value has more decimals than were asked for."""

    def __init__(self) -> None:
        super().__init__("too many decimals")


class Decimal:
    """`units` / 10 ** `scale`, exactly. Written with exactly `scale` decimals; compared by value. Whole numbers may
    stand on either side of an operator, floats may not. The standard library's would say `1E+2`, and round in silence.
    """

    __slots__ = ("units", "scale")

    def __init__(self, units: int, scale: int = 0) -> None:
        if not (0 <= scale <= MOST and SMALLEST <= units <= LARGEST):
            raise Overflow
        self.units = units
        self.scale = scale

    @staticmethod
    def parse(text: str) -> "Decimal":
        """Plain notation: an optional minus, digits, and where there is a point, digits behind it: `-12.50`."""
        parts = PLAIN.fullmatch(text)
        if parts is None:
            raise Malformed
        sign, whole, fraction = parts.groups("")
        digits = (whole + fraction).lstrip("0")
        if len(digits) > MOST:
            raise Overflow
        return Decimal(int(sign + (digits or "0")), len(fraction))

    @staticmethod
    def parse_json(text: str) -> "Decimal":
        """The text of a JSON number, exponent and all: `1.25e2` is 125."""
        mantissa, marked, exponent = text.replace("E", "e").partition("e")
        decimal = Decimal.parse(mantissa)
        if not marked:
            return decimal
        parts = EXPONENT.fullmatch(exponent)
        if parts is None:
            raise Malformed
        if not decimal:
            return ZERO
        shortest = decimal.shortest()
        scale = shortest.scale - int("".join(parts.groups()))
        if not -MOST <= scale <= MOST:
            raise Overflow
        return Decimal(shortest.units, scale) if scale >= 0 else Decimal(shortest.units * 10**-scale)

    def rescale(self, scale: int) -> "Decimal":
        """The same value with `scale` decimals; `Inexact` where that is not exact."""
        if scale == self.scale:
            return self
        if scale > MOST:
            raise Overflow
        if scale > self.scale:
            return Decimal(self.units * 10 ** (scale - self.scale), scale)
        units, rest = divmod(self.units, 10 ** (self.scale - scale))
        if rest:
            raise Inexact
        return Decimal(units, scale)

    def shortest(self) -> "Decimal":
        """The same value without trailing zeros behind the point."""
        units, scale = self.units, self.scale
        while scale > 0 and units % 10 == 0:
            units //= 10
            scale -= 1
        return self if scale == self.scale else Decimal(units, scale)

    def divided_by(self, other: "Decimal | int", scale: int) -> "Decimal":
        """The quotient with `scale` decimals, half rounded away from zero; an `Overflow` where `other` is zero."""
        other = _exact(other)
        if not other or scale > MOST:
            raise Overflow
        over = abs(self.units) * 10 ** (scale + other.scale)
        under = abs(other.units) * 10**self.scale
        rounded = (2 * over + under) // (2 * under)
        return Decimal(rounded if (self.units < 0) == (other.units < 0) else -rounded, scale)

    def round(self, scale: int) -> "Decimal":
        """Rounded to `scale` decimals, half away from zero."""
        return self.rescale(scale) if scale >= self.scale else self.divided_by(ONE, scale)

    def __add__(self, other: "Decimal | int") -> "Decimal":
        """With the decimals of the finer of the two."""
        other = _exact(other)
        if self.scale == other.scale:
            return Decimal(self.units + other.units, self.scale)
        scale = max(self.scale, other.scale)
        return Decimal(self.rescale(scale).units + other.rescale(scale).units, scale)

    def __sub__(self, other: "Decimal | int") -> "Decimal":
        return self + -_exact(other)

    def __rsub__(self, other: int) -> "Decimal":
        return _exact(other) - self

    def __mul__(self, other: "Decimal | int") -> "Decimal":
        """With as many decimals as both have together, or fewer where only zeros are lost."""
        other = _exact(other)
        units, scale = self.units * other.units, self.scale + other.scale
        if scale <= MOST and SMALLEST <= units <= LARGEST:
            return Decimal(units, scale)
        one, another = self.shortest(), other.shortest()
        return Decimal(one.units * another.units, one.scale + another.scale)

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> "Decimal":
        return Decimal(-self.units, self.scale)

    def __bool__(self) -> bool:
        return self.units != 0

    def __eq__(self, other: object) -> bool:
        return self._difference(other) == 0 if isinstance(other, (Decimal, int)) else NotImplemented

    def __lt__(self, other: "Decimal | int") -> bool:
        return self._difference(other) < 0

    def __le__(self, other: "Decimal | int") -> bool:
        return self._difference(other) <= 0

    def __gt__(self, other: "Decimal | int") -> bool:
        return self._difference(other) > 0

    def __ge__(self, other: "Decimal | int") -> bool:
        return self._difference(other) >= 0

    def __hash__(self) -> int:
        shortest = self.shortest()
        return hash((shortest.units, shortest.scale) if shortest.scale else shortest.units)

    def _difference(self, other: "Decimal | int") -> int:
        """`other` taken away, in units of the finer of the two: a difference need not fit."""
        other = _exact(other)
        if self.scale == other.scale:
            return self.units - other.units
        finer = max(self.scale, other.scale)
        return self.units * 10 ** (finer - self.scale) - other.units * 10 ** (finer - other.scale)

    def __str__(self) -> str:
        if self.scale == 0:
            return str(self.units)
        digits = str(abs(self.units)).zfill(self.scale + 1)
        return f"{'-' if self.units < 0 else ''}{digits[: -self.scale]}.{digits[-self.scale :]}"

    def __repr__(self) -> str:
        return f"Decimal({self})"


def _exact(number: "Decimal | int") -> Decimal:
    if isinstance(number, Decimal):
        return number
    if isinstance(number, int):
        return Decimal(number)
    raise TypeError(f"exact decimals do not go with {type(number).__name__}")


ZERO = Decimal(0)
ONE = Decimal(1)
