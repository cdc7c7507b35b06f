"""The days that most tests are about: a Friday, those around it, and the sheets of the five weeks up to it."""

from __future__ import annotations

from datetime import UTC, date, datetime

from kit.bank import workdays

THURSDAY, FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY = (date(2026, 4, day) for day in range(23, 29))
# On Friday. At noon in Moscow Saturday's sheet is not set; in the evening it is, and at midnight it comes into force.
NOON = datetime(2026, 4, 24, 9, tzinfo=UTC)
EVENING = datetime(2026, 4, 24, 14, tzinfo=UTC)
MIDNIGHT = datetime(2026, 4, 24, 21, tzinfo=UTC)
DAYS = list(workdays(date(2026, 3, 10), 34))
