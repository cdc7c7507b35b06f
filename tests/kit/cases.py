"""Golden files of questions and answers: lines that begin with # say why, and below each question stands its answer.

The first line of a file is its grammar: what a question is made of, and what stands below it.
To add a case, write its line. UPDATE_GOLDEN=1 writes all answers anew; look at the difference.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from fcntl import LOCK_EX, flock
from pathlib import Path
from textwrap import indent

import pytest

FOLDER = Path(__file__).parents[1] / "golden"


def golden(name: str, made: str | bytes) -> None:
    """Compare with the bytes in tests/golden. UPDATE_GOLDEN=1 writes them anew; look at the difference."""
    file = FOLDER / name
    made = made.encode() if isinstance(made, str) else made
    kept = file.read_bytes() if file.exists() else b""
    if made != kept and os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(made)
    elif made != kept:
        before, now = (
            part.replace(b"><", b">\n<").decode(errors="backslashreplace").splitlines() for part in (kept, made)
        )
        changes = "\n".join(difflib.unified_diff(before, now, f"tests/golden/{name}", "what is made now", lineterm=""))
        text = changes or "only the ends of lines differ"
        pytest.fail(f"{text}\nIf the change is meant, run this test with UPDATE_GOLDEN=1.", pytrace=False)


def text(name: str) -> str:
    """The whole file."""
    file = FOLDER / name
    assert file.exists(), f"{file} is missing: write its questions, then run this test with UPDATE_GOLDEN=1"
    return file.read_text("utf-8")


def body(name: str) -> str:
    """What stands below the grammar."""
    return text(name).partition("\n")[2]


def lines(name: str) -> list[str]:
    """The remarks and questions of the file."""
    return [line for line in text(name).splitlines() if not line.startswith("  ")]


def questions(name: str) -> list[str]:
    """What the file asks."""
    found = [line for line in lines(name) if line and not line.startswith("#")]
    assert found, f"{FOLDER / name} asks nothing"
    return found


def parts(name: str, kind: str = "") -> dict[str, str]:
    """What stands below each line that begins with this word, by what follows the word."""
    found: dict[str, str] = {}
    asked = ""
    for line in text(name).splitlines():
        if line.startswith("  "):
            found[asked] += f"\n{line[2:]}" if found[asked] else line[2:]
        elif line and not line.startswith("#"):
            asked = line
            found[asked] = ""
    return {line[len(kind) :].strip(): text for line, text in found.items() if line.startswith(kind)}


def script(name: str, **words: str) -> str:
    """A text for a browser or another program out of golden/scripts.txt, with these words replaced."""
    found = parts("scripts.txt")[name]
    for word, text in words.items():
        found = found.replace(word, text)
    return found


def check_one(name: str, question: str, answer: str) -> None:
    """The same for one question of many, where each is a test of its own."""
    with (FOLDER / name).open() as file:
        flock(file, LOCK_EX)  # another process may be writing another answer
        check(name, {line: text for line, text in parts(name).items() if text} | {question: answer})


def check(name: str, answers: Mapping[str, str]) -> None:
    """Compare the answer to each question with the one in the file."""
    shown = (f"{line}\n{indent(answers[line], '  ')}" if line in answers else line for line in lines(name))
    golden(name, "".join(f"{line.rstrip()}\n" for line in shown))
