"""One run from one seed: a fleet lives for some days, and again and again something goes wrong."""

from __future__ import annotations

import gc
import random
import re
import time
from collections.abc import Collection
from typing import Any

from simulation.bank import DAY, HOUR
from simulation.faults import FAULTS, SAFE
from simulation.fleet import Fleet
from simulation.invariants import Watch, judge_answer

LASTS_S = (2, 10, 60, 300, 1800, 2 * HOUR, 6 * HOUR, 26 * HOUR)
PAUSES_S = (0.01, 0.7, 3, 20)
INFINITE = float("inf")
CALM_HOURS = 0.5, 30.0
SHARES = 10
"""So many runs after another share out all kinds of faults: with few, none hides what another has broken. Then two
take all.
"""


class Run:
    """What happened, and what did not hold."""

    def __init__(self, seed: int, days: float, skip: Collection[int] = (), only: str = "") -> None:
        """Episodes to `skip` begin and end without a fault. `only` is a pattern for the names of the faults to take."""
        chance = random.Random(f"{seed} fleet")
        self.seed, self.days, self.skip, self.only = seed, days, frozenset(skip), only
        self.fleet = Fleet(seed, chance.choice([2, 2, 3]))
        self.watch = Watch(self.fleet)
        self.fleet.on_forget = self.watch.forget
        self.fleet.on_answer = lambda *answer: judge_answer(self.fleet, *answer)
        self.episodes: list[tuple[str, ...]] = []
        names = [name for name in FAULTS if re.search(only, name)]
        year, month = divmod(seed - 1, SHARES + 2)
        random.Random(f"{year} kinds").shuffle(names)
        self._kinds = names if only or month >= SHARES else names[month::SHARES]

    def go(self, until: float = INFINITE) -> Run:
        """Let everything happen up to the first thing that does not hold; `until` ends it after so much work."""
        gc.disable()
        fleet, watch = self.fleet, self.watch
        fleet.begin()
        fleet.hurt_at = fleet.world.now
        watch.check()
        fleet.world.around.loop.call_soon(watch.count_requests)
        end = fleet.world.now + self.days * DAY
        while fleet.world.now < end and not fleet.broken and time.process_time() < until:
            chance = random.Random(f"{self.seed} episode {len(self.episodes)}")
            fleet.calm(chance.uniform(*CALM_HOURS) * HOUR)
            watch.check()
            self._episode(chance)
            watch.check()
        return self

    def _episode(self, chance: random.Random) -> None:
        """One to three faults begin one after another, last together, and end in any order."""
        fleet = self.fleet
        weights = [FAULTS[name][0] for name in self._kinds]
        kinds = list(dict.fromkeys(chance.choices(self._kinds, weights, k=chance.choice([1, 1, 2, 2, 3]))))
        lasts_s = chance.choice(LASTS_S)
        number = len(self.episodes)
        self.episodes.append(tuple(kinds))
        if number in self.skip:
            return
        fleet.world.note("episode", f"{number}: {', '.join(kinds)}")
        ends = []
        # Two faults of the Bank may take both mirrors away.
        is_safe = set(kinds) <= set(SAFE) and sum(kind.startswith("bank ") for kind in kinds) < 2
        fleet.is_hurt = not is_safe
        fleet.hurt_at, fleet.look = INFINITE, self.watch.look
        for kind in kinds:
            fleet.counts[kind] += 1
            if end := FAULTS[kind][1](fleet, chance):
                ends.append((kind, end))
            fleet.careful(chance.choice(PAUSES_S))
        fleet.careful(lasts_s)
        chance.shuffle(ends)
        for kind, end in ends:
            fleet.world.note("end", kind)
            end()
            fleet.careful(chance.choice([0, *PAUSES_S]))
        if fleet.is_hurt:
            fleet.is_hurt, fleet.well_since = False, fleet.world.now
        fleet.hurt_at, fleet.look = fleet.world.now, lambda: None

    def report(self) -> dict[str, Any]:
        """What a person wants to know of it."""
        fleet, watch = self.fleet, self.watch
        return {
            "seed": self.seed,
            "replicas": len(fleet.names),
            "from": f"{fleet.world.begins:%F}",
            "days": round(fleet.world.now / DAY, 1),
            "digest": fleet.world.digest,
            "episodes": len(self.episodes),
            "broken": fleet.broken,
            "most_asked": max((one[0] for one in watch.asked if not one[1]), default=0),
            "most_asked_in_trouble": max((one[0] for one in watch.asked if one[1]), default=0),
            "agreed_s": round(max(watch.agreed_s, default=0.0)),
            "counts": dict(sorted(fleet.counts.items())),
            "logged": dict(fleet.world.logged),
            "turns": fleet.world.turns,
        }


def shortest(red: Run, most_s: float = 60.0) -> Run:
    """The same run with as few faults as it takes to break the same promise. It works for so many seconds at most.

    First it leaves out all but the last episodes, then one of them after another.
    """
    until, wanted, best = time.process_time() + most_s, red.fleet.broken[0][0], red
    days, last = red.fleet.world.now / DAY + 0.1, len(red.episodes)

    def is_red_without(skip: Collection[int]) -> bool:
        nonlocal best
        run = Run(red.seed, days, skip, red.only)
        is_red = any(name == wanted for name, _ in run.go(until).fleet.broken)
        best = run if is_red else best
        return is_red

    kept = next((n for n in (1, 2, 4, 8) if is_red_without(range(last - n))), last)
    for number in range(last - kept, last):
        is_red_without({*best.skip, number})
    return best
