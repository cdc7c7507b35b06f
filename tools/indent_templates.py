"""Indents the templates: `python tools/indent_templates.py`. Each line is as deep as the tags and blocks around it.

With --check it only names those that are not. prettier cannot parse most of them, and djLint changes blanks that
readers see. The service leaves indentation out.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr", "!doctype"})
_TOKEN = re.compile(
    r"""{\#.*?\#} | {%-?\s*(?P<block>\w+)(?P<rest>.*?)%} | {{.*?}} | <!--.*?-->
      | </(?P<end>[\w-]+)\s*> | <(?P<start>[!\w-]+)(?P<inside>(?:{%.*?%}|{{.*?}}|[^>])*)>""",
    re.DOTALL | re.VERBOSE,
)
_BLOCKS = {"if", "for", "macro", "call", "filter"}


def indented(template: str) -> str:
    """The template with two blanks for each line that opened what surrounds a line."""
    text = "\n".join(line.strip() for line in template.splitlines())
    tokens = list(_TOKEN.finditer(text))
    lines, at = [], 0
    depths: list[int] = []  # those of the lines with the open tags and blocks
    begun: tuple[int, int] = (0, 0)  # the end of the last token, and the depth of the line with its beginning
    for line in text.split("\n"):
        depth = depths[-1] + 1 if depths else 0
        if begun[0] > at:
            depth = begun[1] + (not line.startswith(">"))
        end_of_leading = at
        while tokens and tokens[0].start() <= at + len(line):
            token = tokens.pop(0)
            is_end, is_start = _kind(token)
            if is_end and depths:
                closed = depths.pop()
                if token.start() == end_of_leading:
                    depth, end_of_leading = closed, token.end()
            if is_start:
                depths.append(depth)
            begun = token.end(), depth
        lines.append("  " * depth + line if line else "")
        at += len(line) + 1
    return "\n".join(lines) + "\n"


def _kind(token: re.Match[str]) -> tuple[bool, bool]:
    """Whether it ends what surrounds it, and whether it starts something."""
    block, start = token["block"], token["start"]
    if block:
        is_middle = block in {"else", "elif"}
        is_start = block in _BLOCKS or (block == "set" and "=" not in token["rest"])
        return is_middle or block.startswith("end"), is_middle or is_start
    is_start = start and start.lower() not in _VOID and not token["inside"].endswith("/")
    return bool(token["end"]), bool(is_start)


def templates() -> list[Path]:
    """All templates but those of plain text."""
    folders = ROOT.glob("ratesvc/features/*/templates")
    return sorted(file for folder in folders for file in folder.iterdir() if file.suffix in (".html", ".svg"))


def main() -> None:
    wrong = {file: indented(text) for file in templates() if indented(text := file.read_text("utf-8")) != text}
    if wrong and "--check" in sys.argv:
        names = ", ".join(str(file.relative_to(ROOT)) for file in wrong)
        sys.exit(f"Not indented as what surrounds each line: {names}. Run make front.")
    for file, text in wrong.items():
        file.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
