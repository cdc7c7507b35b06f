"""What goes wrong: each fault begins, and returns how it ends."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterable
from typing import TypeVar

from simulation.bank import HOUR, ONE_DAY, Mirror, spoiler
from simulation.fleet import MIRRORS, Fleet

End = Callable[[], object] | None
Fault = Callable[[Fleet, random.Random], End]

T = TypeVar("T")

BANK = tuple(MIRRORS)
JUMPS_S = (1.5, 20, 300, 2 * HOUR, 5 * HOUR, 26 * HOUR)


def each(things: Iterable[T], act: Callable[[T], object]) -> Callable[[], None]:
    """Does this with each of them."""

    def end() -> None:
        for thing in things:
            act(thing)

    return end


# Redis


def redis_down(fleet: Fleet, chance: random.Random) -> End:
    fleet.redis.crash(chance.choice([0, 0, 1, 2]))
    return fleet.redis.listen


def redis_flushed(fleet: Fleet, _: random.Random) -> End:
    fleet.redis.flush()
    return None


def redis_restarts_empty(fleet: Fleet, _: random.Random) -> End:
    fleet.redis.crash()
    fleet.redis.flush()
    return fleet.redis.listen


def redis_fails_over(fleet: Fleet, chance: random.Random) -> End:
    fleet.redis.crash(chance.uniform(0, 3))
    fleet.world.around.loop.call_later(chance.uniform(0.5, 12), fleet.redis.listen)
    return None


def redis_is(mode: str) -> Fault:
    def begin(fleet: Fleet, _: random.Random) -> End:
        fleet.redis.mode = mode

        def end() -> None:
            fleet.redis.mode = "up"
            if mode == "silent":
                fleet.world.network.reset_all(fleet.redis.process)

        return end

    return begin


def redis_slow(fleet: Fleet, chance: random.Random) -> End:
    fleet.redis.delay_s = chance.choice([0.05, 0.2, 0.35, 0.6])
    return lambda: setattr(fleet.redis, "delay_s", 0.0)


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
            del values[chance.choice(sorted(values))]
    return None


def redis_foreign(fleet: Fleet, chance: random.Random) -> End:
    """Somebody else writes under our keys."""
    keys = [key for key in sorted(fleet.redis.data) if b":v2:" in key]
    if not keys:
        return None
    key = chance.choice(keys)
    kept, fleet.redis.data[key] = fleet.redis.data[key], b"somebody else's"

    def end() -> None:
        if fleet.redis.data.get(key) == b"somebody else's":
            fleet.redis.data[key] = kept

    return end if isinstance(kept, dict) else None


# The Bank and the network


def some(fleet: Fleet, chance: random.Random) -> list[Mirror]:
    """One mirror or both. While one answers, the service gets everything."""
    which = chance.choice([fleet.mirrors[:1], fleet.mirrors[1:], fleet.mirrors])
    fleet.is_hurt |= which == fleet.mirrors
    return which


def bank_is(mode: str) -> Fault:
    def begin(fleet: Fleet, chance: random.Random) -> End:
        which = some(fleet, chance)
        for mirror in which:
            mirror.mode = mode
        return each(which, lambda mirror: setattr(mirror, "mode", "up"))

    return begin


def bank_refuses(fleet: Fleet, chance: random.Random) -> End:
    which = some(fleet, chance)
    for mirror in which:
        mirror.refuse()
    return each(which, Mirror.listen)


def bank_sends(kind: str) -> Fault:
    def begin(fleet: Fleet, chance: random.Random) -> End:
        which = chance.choice([fleet.mirrors[:1], fleet.mirrors[1:], fleet.mirrors])
        spoil = spoiler(kind, chance, fleet.today())
        for mirror in which:
            mirror.spoil = spoil
        return each(which, lambda mirror: setattr(mirror, "spoil", None))

    return begin


def cut(*others: str) -> Fault:
    def begin(fleet: Fleet, chance: random.Random) -> End:
        name = chance.choice(fleet.names)
        for other in others:
            fleet.world.network.cut(name, other)
        return each(others, lambda other: fleet.world.network.heal(name, other))

    return begin


def network_slow(fleet: Fleet, chance: random.Random) -> End:
    pair = frozenset((chance.choice(fleet.names), "redis"))
    fleet.world.network.slow[pair] = chance.choice([0.02, 0.1, 0.3])
    return lambda: fleet.world.network.slow.pop(pair, None)


def two_corrections(fleet: Fleet, chance: random.Random) -> End:
    """While Redis is away, one replica fetches a correction and another the next one."""
    first, *others = chance.sample(fleet.names, k=len(fleet.names))
    network = fleet.world.network
    for name in fleet.names:
        network.cut(name, "redis")
    for name in others:
        for mirror in BANK:
            network.cut(name, mirror)
    fleet.bank.correct(1)
    fleet.careful(2 * HOUR)
    for mirror in BANK:
        network.cut(first, mirror)
        for name in others:
            network.heal(name, mirror)
    fleet.bank.correct(1)
    fleet.careful(2 * HOUR)

    def end() -> None:
        for name in fleet.names:
            network.heal(name, "redis")
        for mirror in BANK:
            network.heal(first, mirror)

    return end


# Processes and machines


def dies(*, silently: bool) -> Fault:
    """kill -9; silently it is a loss of power."""

    def begin(fleet: Fleet, chance: random.Random) -> End:
        name = chance.choice(fleet.names)
        process = fleet.processes[name]
        process.kill(silently=silently)
        if silently:
            fleet.world.off.add(process.ip)
        return lambda: fleet.start(name) if fleet.processes[name].is_dead else None

    return begin


def is_told_to_stop(fleet: Fleet, chance: random.Random) -> End:
    name = chance.choice(fleet.names)
    process = fleet.processes[name]
    if not process.is_running or signal.SIGTERM not in process.loop.signals:
        return None
    callback, arguments = process.loop.signals[signal.SIGTERM]
    process.loop.call_soon(callback, *arguments)

    def again() -> None:
        if fleet.processes[name].is_dead:
            fleet.start(name)
        else:
            fleet.world.around.loop.call_later(1, again)

    return again


def is_frozen(fleet: Fleet, chance: random.Random) -> End:
    """SIGSTOP, or a virtual machine that is moved."""
    process = fleet.processes[chance.choice(fleet.names)]
    process.is_paused = True
    return lambda: setattr(process, "is_paused", False)


def clock_jumps(fleet: Fleet, chance: random.Random) -> End:
    name, jump_s = chance.choice(fleet.names), chance.choice([-1, 1]) * chance.choice(JUMPS_S)

    def put(skew_s: float) -> None:
        fleet.skews[name] = fleet.processes[name].skew_s = skew_s
        fleet.world.note(name, f"clock {skew_s:+g} s")

    put(jump_s)
    return lambda: put(0.0)


# A person


def person_withdraws(fleet: Fleet, chance: random.Random) -> End:
    """Takes back one of the last sheets."""
    day = chance.choice(fleet.bank.latest(4))
    if fleet.today() - day < 30 * ONE_DAY:
        fleet.withdraw(day)
    return None


def person_releases(fleet: Fleet, _: random.Random) -> End:
    """Looks at what waits, and releases what is right."""
    fleet.release()
    return None


SPOILT = ("ten times", "a fifth more", "rows lost", "wrong date")
SAFE = ("bank refuses", *(f"bank {mode}" for mode in ("hang", "503", "html", "cut", "drip", "reset")))
"""During these alone the newest sheet comes in time, if one mirror answers."""
FAULTS: dict[str, tuple[int, Fault]] = {
    "redis down": (2, redis_down),
    "redis flushed": (1, redis_flushed),
    "redis restarts empty": (1, redis_restarts_empty),
    "redis fails over": (2, redis_fails_over),
    **{f"redis {mode}": (1, redis_is(mode)) for mode in ("silent", "loading", "full", "readonly")},
    "redis slow": (1, redis_slow),
    "redis damaged": (1, redis_damaged),
    "redis loses values": (1, redis_loses),
    "redis foreign": (1, redis_foreign),
    "bank refuses": (1, bank_refuses),
    **{name: (1, bank_is(name.removeprefix("bank "))) for name in SAFE[1:]},
    **{f"bank sends {kind}": (1, bank_sends(kind)) for kind in SPOILT},
    "cut from redis": (2, cut("redis")),
    "cut from the bank": (1, cut(*BANK)),
    "cut from both": (1, cut("redis", *BANK)),
    "network slow": (1, network_slow),
    "two corrections": (1, two_corrections),
    "kill": (2, dies(silently=False)),
    "power": (1, dies(silently=True)),
    "term": (1, is_told_to_stop),
    "frozen": (1, is_frozen),
    "clock": (1, clock_jumps),
    "person withdraws": (1, person_withdraws),
    "person releases": (1, person_releases),
}
"""How often each is chosen, and what it does."""
