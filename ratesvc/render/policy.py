"""Content-Security-Policy by hash: a page may use exactly its own styles and scripts, and nothing of anybody else."""

from __future__ import annotations

import base64
import hashlib


def source(*texts: str) -> str:
    """The hash sources that allow these inline texts, byte for byte (CSP Level 3, 2.3.1)."""
    return " ".join(f"'sha256-{_digest(text)}'" for text in texts) or "'none'"


def policy(style: str, **directives: str) -> str:
    """Nothing but the inline `style` and what `directives` add or replace; their underscores stand for hyphens."""
    everything = {
        "default-src": "'none'",
        "style-src": source(style),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        **{name.replace("_", "-"): value for name, value in directives.items()},
    }
    return "; ".join(f"{name} {value}" for name, value in everything.items())


PERMISSIONS = ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")


def framed_page(policy: str) -> tuple[tuple[str, str], ...]:
    """The headers of a page that others may frame: it needs no permission of its host."""
    return ("Content-Security-Policy", policy), PERMISSIONS


def own_page(policy: str) -> tuple[tuple[str, str], ...]:
    """The headers of a page for a window of its own, which shares nothing with the page that opened it."""
    return *framed_page(policy), ("Cross-Origin-Opener-Policy", "same-origin")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
