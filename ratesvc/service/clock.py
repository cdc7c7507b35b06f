"""Compares our clock with the Bank's, by the Date headers of its answers. The day stays that of our clock."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable
from datetime import datetime

from ratesvc.bank.client import BankClient
from ratesvc.service.health import WRONG_SKEW_S

ASK_AFTER_S = 3600.0


class ClockCheck:
    """Whether two answers of the Bank say that our clock is wrong: of two mirrors, where there are two."""

    def __init__(self, client: BankClient, clock: Callable[[], datetime]) -> None:
        """`clock` gives UTC."""
        self.is_wrong = False
        self._client, self._clock, self._judged = client, clock, client.last_date

    @property
    def skew_s(self) -> float | None:
        """Seconds that our clock is ahead of the Bank's, if it has said a time."""
        theirs, at, _ = self._client.last_date or (None, 0.0, "")
        since_s = get_running_loop().time() - at
        return (self._clock() - theirs).total_seconds() - since_s if theirs else None

    async def check(self, *, has_polled: bool) -> None:
        """Judge the last answer. Ask for one if there was none for an hour, and for a second if the clocks differ."""
        client, now = self._client, get_running_loop().time()
        if not has_polled and (client.last_date is None or now - client.last_date[1] > ASK_AFTER_S):
            await client.ask_for_date()
        if client.last_date is not self._judged and (not self._differs() or await client.ask_for_date()):
            self.is_wrong = self._differs()
        self._judged = client.last_date

    def _differs(self) -> bool:
        return abs(self.skew_s or 0.0) > WRONG_SKEW_S
