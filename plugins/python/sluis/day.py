"""Calendar dates: what documents of an ERP carry."""

import re
from datetime import date, timedelta

TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]*)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


class Day(date):
    """A day of the Gregorian calendar, year 1 to 9999; written `YYYY-MM-DD`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Day | None":
        """The day of an RFC 3339 timestamp or ISO 8601 date, as it is written there: no change of time zone."""
        parts = TIMESTAMP.fullmatch(text)
        try:
            return parts and cls(*map(int, parts.groups()))
        except ValueError:
            return None

    def plus_days(self, days: int) -> "Day | None":
        """The day `days` later; none past the year 9999."""
        try:
            return self + timedelta(days)
        except OverflowError:
            return None
