"""What goes wrong: each fault begins, and returns how it ends."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, TypeVar

from simulation.bank import HOUR, ODD, ONE_DAY, SPOILT, Mirror, spoiler
from simulation.fleet import MIRRORS, Fleet

T = TypeVar("T")
End = Callable[[], object] | None
Fault = Callable[[Fleet, random.Random], End]

BANK = tuple(MIRRORS)
AWAY_S = 21 * 24 * HOUR
JUMPS_S = (1.5, 20, 300, 2 * HOUR, 5 * HOUR, 26 * HOUR)
FOREIGN = b"somebody else's"


def put(things: Iterable[Any], name: str, value: Any, normal: Any) -> End:
    """Give each of these things another attribute until the fault ends."""
    things = list(things)

    def give(given: Any) -> None:
        for thing in things:
            setattr(thing, name, given)

    give(value)
    return lambda: give(normal)


def each(act: Callable[[T], object], things: Iterable[T]) -> Callable[[], None]:
    """Does this with each of them."""

    def end() -> None:
        for thing in things:
            act(thing)

    return end


# Redis


def redis_down(fleet: Fleet, chance: random.Random) -> End:
    fleet.redis.crash(chance.choice([0, 0, 1, 2]))
    return fleet.redis.listen


def redis_restarts_empty(fleet: Fleet, _: random.Random) -> End:
    fleet.redis.crash()
    fleet.redis.flush()
    return fleet.redis.listen


def redis_fails_over(fleet: Fleet, chance: random.Random) -> End:
    fleet.redis.crash(chance.uniform(0, 3))
    fleet.world.around.loop.call_later(chance.uniform(0.5, 12), fleet.redis.listen)
    return fleet.redis.listen


def redis_is(mode: str) -> Fault:
    """Its connections are reset at the end, because a silent one owes answers."""

    def begin(fleet: Fleet, _: random.Random) -> End:
        fleet.redis.mode = mode

        def end() -> None:
            fleet.redis.mode = "up"
            fleet.world.network.reset_all(fleet.redis.process)

        return end

    return begin


def redis_damaged(fleet: Fleet, chance: random.Random) -> End:
    """A bit of some values is another."""
    for ending in (b"sheets", b"columns"):
        values = fleet.redis.hashes(ending)
        if values and chance.random() < 0.7:
            name = chance.choice(sorted(values))
            raw = bytearray(values[name])
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
            values[name] = bytes(raw)
    return None


def redis_loses(fleet: Fleet, chance: random.Random) -> End:
    """Single values are gone."""
    for ending in (b"sheets", b"columns", b"quarantine"):
        values = fleet.redis.hashes(ending)
        if len(values) > 1 and chance.random() < 0.7:
            name = chance.choice(sorted(values))
            del values[name]
            if ending == b"sheets":
                fleet.lost.add(date.fromisoformat(name.decode()[:10]))
    return None


def redis_foreign(fleet: Fleet, chance: random.Random) -> End:
    """Somebody else writes under our keys."""
    data = fleet.redis.data
    keys = [key for key in sorted(data) if b":v2:" in key]
    if not keys:
        return None
    key = chance.choice(keys)
    kept, data[key] = data[key], FOREIGN
    return (lambda: data.update({key: kept} if data.get(key) == FOREIGN else {})) if isinstance(kept, dict) else None


# The Bank and the network


def some(fleet: Fleet, chance: random.Random) -> list[Mirror]:
    """One mirror or both. While one answers, the service gets everything."""
    which = chance.choice([fleet.mirrors[:1], fleet.mirrors[1:], fleet.mirrors])
    fleet.is_hurt |= which == fleet.mirrors
    return which


def bank_refuses(fleet: Fleet, chance: random.Random) -> End:
    which = some(fleet, chance)
    for mirror in which:
        mirror.refuse()
    return each(Mirror.listen, which)


def bank_is(mode: str) -> Fault:
    return lambda fleet, chance: put(some(fleet, chance), "mode", mode, "up")


def bank_sends(kind: str) -> Fault:
    """Other figures come from one mirror, because what both give is what the Bank says."""

    def begin(fleet: Fleet, chance: random.Random) -> End:
        which = [chance.choice(fleet.mirrors)] if kind in ("ten times", "a fifth more") else some(fleet, chance)
        return put(which, "spoil", spoiler(kind, chance, fleet.today()), None)

    return begin


def figures_are(odd: str) -> Fault:
    """The metals and the key rate are wrong."""

    def begin(fleet: Fleet, chance: random.Random) -> End:
        end, tenfold_on = put(some(fleet, chance), "odd", odd, ""), fleet.bank.tenfold_on
        note = tenfold_on.add if odd == "ten times" else lambda _: None
        note(fleet.today())
        # The service asks for them each few hours.
        fleet.careful(7 * HOUR if odd == "ten times" else 0)
        return lambda: (note(fleet.today()), end and end())

    return begin


def cut(*others: str) -> Fault:
    def begin(fleet: Fleet, chance: random.Random) -> End:
        name, network = chance.choice(fleet.names), fleet.world.network
        for other in others:
            network.cut(name, other)
        return each(lambda other: network.heal(name, other), others)

    return begin


def network_slow(fleet: Fleet, chance: random.Random) -> End:
    pair = frozenset((chance.choice(fleet.names), "redis"))
    fleet.world.network.slow[pair] = chance.choice([0.02, 0.1, 0.3])
    return lambda: fleet.world.network.slow.pop(pair, None)


def two_corrections(fleet: Fleet, chance: random.Random) -> End:
    """While Redis is away, one replica fetches a correction and another the next one."""
    first, *others = chance.sample(fleet.names, k=len(fleet.names))
    network = fleet.world.network

    def everywhere(act: Callable[[str, str], None], names: Iterable[str], *places: str) -> None:
        for name in names:
            for place in places:
                act(name, place)

    def end() -> None:
        # While Redis is slow, both write before either has read.
        fleet.redis.delay_s = 0.2
        fleet.world.around.loop.call_later(3, setattr, fleet.redis, "delay_s", 0.0)
        everywhere(network.heal, fleet.names, "redis")
        everywhere(network.heal, [first], *BANK)

    everywhere(network.cut, fleet.names, "redis")
    for asks, waits in (([first], others), (others, [first])):
        everywhere(network.heal, asks, *BANK)
        everywhere(network.cut, waits, *BANK)
        fleet.bank.correct(1)
        fleet.careful(2 * HOUR)
    return end


# Processes and machines


def dies(*, silently: bool) -> Fault:
    """kill -9; silently it is a loss of power."""

    def begin(fleet: Fleet, chance: random.Random) -> End:
        name = chance.choice(fleet.names)
        fleet.kill(name, silently=silently)
        return lambda: fleet.start(name) if fleet.processes[name].is_dead else None

    return begin


def everyone(*, is_empty: bool = False, away_s: float = 0.0) -> Fault:
    """All replicas are gone, for some time. With an empty Redis the first to come makes a first start."""

    def begin(fleet: Fleet, _: random.Random) -> End:
        for name in fleet.names:
            fleet.kill(name)
        if is_empty:
            fleet.redis.flush()
        fleet.calm(away_s)

        def again() -> None:
            for name in fleet.names:
                if fleet.processes[name].is_dead:
                    fleet.start(name)
            for listener in fleet.listeners:
                # What a backfill fetches after a long pause gives no event.
                listener.knows = None if away_s else listener.knows

        return again

    return begin


def is_told_to_stop(fleet: Fleet, chance: random.Random) -> End:
    name = chance.choice(fleet.names)
    process = fleet.processes[name]
    if not process.is_running or signal.SIGTERM not in process.loop.signals:
        return None
    callback, arguments = process.loop.signals[signal.SIGTERM]
    process.began_at = fleet.world.now  # nobody expects an answer from it any more
    process.loop.call_soon(callback, *arguments)

    def again() -> None:
        if fleet.processes[name].is_dead:
            fleet.start(name)
        else:
            fleet.world.around.loop.call_later(1, again)

    return again


def clock_jumps(fleet: Fleet, chance: random.Random) -> End:
    name, jump_s = chance.choice(fleet.names), chance.choice([-1, 1]) * chance.choice(JUMPS_S)

    def jump(skew_s: float) -> None:
        fleet.skews[name] = fleet.processes[name].skew_s = skew_s
        fleet.world.note(name, f"clock {skew_s:+g} s")

    jump(jump_s)
    return lambda: jump(0.0)


def person_withdraws(fleet: Fleet, chance: random.Random) -> End:
    """Takes back one of the last sheets."""
    day = chance.choice(fleet.bank.latest(4))
    if fleet.today() - day < 30 * ONE_DAY:
        fleet.withdraw(day)
    return None


FAILS = ("hang", "503", "html", "cut", "drip", "reset")
SAFE = ("bank refuses", *(f"bank {mode}" for mode in FAILS), *(f"figures {odd}" for odd in ODD))
"""During these alone the newest sheet comes in time, if one mirror answers."""
FAULTS: dict[str, tuple[float, Fault]] = {
    "redis down": (2, redis_down),
    "redis flushed": (1, lambda fleet, _: fleet.redis.flush()),
    "redis restarts empty": (1, redis_restarts_empty),
    "redis fails over": (2, redis_fails_over),
    **{f"redis {mode}": (1, redis_is(mode)) for mode in ("silent", "loading", "full", "readonly")},
    "redis slow": (1, lambda fleet, chance: put([fleet.redis], "delay_s", chance.choice([0.05, 0.2, 0.35, 0.6]), 0.0)),
    "redis damaged": (1, redis_damaged),
    "redis loses values": (1, redis_loses),
    "redis foreign": (1, redis_foreign),
    "bank refuses": (1, bank_refuses),
    **{f"bank {mode}": (1, bank_is(mode)) for mode in FAILS},
    **{f"bank sends {kind}": (1, bank_sends(kind)) for kind in SPOILT},
    **{f"figures {odd}": (0.4, figures_are(odd)) for odd in ODD},
    "cut from redis": (2, cut("redis")),
    "cut from the bank": (1, cut(*BANK)),
    "cut from both": (1, cut("redis", *BANK)),
    "network slow": (1, network_slow),
    "two corrections": (1, two_corrections),
    "kill": (2, dies(silently=False)),
    "power": (1, dies(silently=True)),
    "everyone is killed": (1, everyone()),
    "a first start": (0.5, everyone(is_empty=True)),
    "away for three weeks": (0.2, everyone(away_s=AWAY_S)),
    "term": (1, is_told_to_stop),
    "frozen": (
        1,
        lambda fleet, chance: put([fleet.processes[chance.choice(fleet.names)]], "is_paused", value=True, normal=False),
    ),
    "clock": (1, clock_jumps),
    "person withdraws": (1, person_withdraws),
    "person releases": (1, lambda fleet, _: fleet.release()),
}
"""How often each is chosen, and what it does."""
