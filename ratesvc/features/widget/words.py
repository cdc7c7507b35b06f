"""The words around the rows of a widget: heading, note, the Bank with its day; each says which day the rows are for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

from ratesvc.domain.rates import REDENOMINATION, InForce
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, moscow_day, usual_at
from ratesvc.features.site.language import Language
from ratesvc.features.widget.view import DATED_TITLE, HEADINGS, View
from ratesvc.render.language import HARD_BLANK, OLD_ROUBLES, RIGHT_TO_LEFT_MARK

STOPS = ".\u3002\u0589"
STALE = "Not updated since {day}."
NO_RATE = "The Bank of Russia has no rate for {codes}."


class Title(NamedTuple):
    """A heading: a day with words before and after it. `is_ours` is true for a sentence of ours."""

    day: str
    before: str = ""
    after: str = ""
    is_ours: bool = True

    def __str__(self) -> str:
        return f"{self.before}{self.day}{self.after}"


@dataclass(frozen=True)
class Words:
    """The words of one table: of a sheet, or of today's and tomorrow's. `missing` are codes without any rate."""

    shown: Sequence[InForce]
    language: Language
    view: View
    today: date
    missing: str = ""

    @property
    def day(self) -> str:
        """The day of the newest figures, with its year if they are not those of these days."""
        newest = self.shown[-1]
        is_past = newest.stale or newest.next_due_at is None
        day = self.language.shortest_day(newest.revision.effective_date, has_year=is_past).replace(" ", HARD_BLANK)
        # The mark in an Arabic date would move its month to the other end of an English sentence.
        return day.replace(RIGHT_TO_LEFT_MARK, "") if self.language.foreign else day

    @property
    def tomorrow(self) -> str:
        """The word for tomorrow if only tomorrow's rates are shown, or a line has no room for today's beside them."""
        newest = self.shown[-1].revision.effective_date
        # Only the catalogues have the word; elsewhere the date says enough.
        is_tomorrows = not self.language.foreign and newest == self.today + ONE_DAY
        return self.language.say("Tomorrow").lower() if is_tomorrows else ""

    def title(self, exact: str) -> Title:
        """The heading. Where no head names the day, it ends with the day. In a text it is a hint, with the exact rate.

        A line is cut at its end, so there a warning stands in the heading's place.
        """
        view, language = self.view, self.language
        if view.layout == "inline":
            hint = language.say("Bank of Russia, {day}", day=language.day(self.shown[-1].revision.effective_date))
            hint = f"{hint}, {language.roubles(exact)}" if exact else hint
            return Title(f"{hint} · {self.note}" if self.note else hint, is_ours=False)
        if view.layout == "line" and self.missing:
            return self._around(NO_RATE, codes=self.missing)
        if view.layout == "line" and self.shown[0].stale:
            return self._around(STALE, day=self.day)
        own = view.own_heading
        words = own or language.say(HEADINGS[view.heading])
        if self._has_days_elsewhere:
            return Title(words, is_ours=not own)
        dated = self.day
        if self.tomorrow:
            dated = f"{self.day} ({self.tomorrow})"
        if view.heading == "none":
            return Title(dated, is_ours=False)
        return Title(dated, f"{own}, ", is_ours=False) if own else self._around(DATED_TITLE, day=dated)

    def _around(self, sentence: str, **word: str) -> Title:
        """A sentence of ours without its stop, in the three parts of a title."""
        ((name, text),) = word.items()
        before, _, after = self.language.say(sentence, **{name: "\0"}).rstrip(STOPS).partition("\0")
        return Title(text, before, after)

    @property
    def _has_days_elsewhere(self) -> bool:
        """Whether heads of columns name the days, or the credit does."""
        return self.view.has_heads or (self.view.layout == "converter" and self.view.heading == "none")

    @property
    def note(self) -> str:
        """What a reader must know before the figures, or when to expect tomorrow's; empty if nothing."""
        answer, language = self.shown[0], self.language
        effective, expected = answer.revision.effective_date, answer.next_due_at
        if self.missing:
            return language.say(NO_RATE, codes=self.missing)
        if effective < REDENOMINATION:
            return language.say(OLD_ROUBLES)
        if answer.stale:
            return language.say(STALE, day=language.isolated(language.day(effective)))
        is_awaited = self.view.pending and expected and not answer.following and not answer.next_overdue
        if is_awaited and expected and moscow_day(expected) == self.today:
            usual, due = (
                language.date_as("time", moment.astimezone(MOSCOW)) for moment in (usual_at(expected), expected)
            )
            return language.say("Tomorrow: about {usual}, by {time}", usual=usual, time=due)
        return ""

    @property
    def later(self) -> tuple[str, str]:
        """The heading of an evening, and the note once these rates are old."""
        effective = self.shown[-1].revision.effective_date
        evening = replace(self, today=effective - ONE_DAY) if "next" in self.view.columns else self
        day = self.language.isolated(self.language.day(effective))
        return str(evening.title("")), self.language.say(STALE, day=day)

    @property
    def credit(self) -> str:
        """The Bank and the day of the newest figures, because a narrow table shows no others."""
        if not self._has_days_elsewhere or self.shown[0].stale:
            return ""
        day = self.language.day(self.shown[-1].revision.effective_date).replace(" ", HARD_BLANK)
        return self.language.say("Bank of Russia, {day}", day=self.language.isolated(day))

    @property
    def of_sentence(self) -> str:
        """What a sentence says after its rate: the day of an old rate and of tomorrow's; a phone shows no hint."""
        if not self.shown[0].stale and self.shown[0].revision.effective_date <= self.today:
            return ""
        said = self.day if self.language.foreign else self.language.say("as of {day}", day=self.day)
        said = f"{said}, {self.tomorrow}" if self.tomorrow else said
        return f" ({said.replace(' ', HARD_BLANK)})"
