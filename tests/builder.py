"""What the builder, our home page, gives to be pasted."""

from __future__ import annotations

from html import unescape

import aiohttp


async def pasted(url: str, key: str, query: str = "") -> str:
    """One of its codes, verbatim."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/?{query}") as answer:
        page = await answer.text()
    section = page.split(f'id="code-{key}"')[1].split("</section>")[0]
    return unescape(section.split("<code>")[1].split("</code>")[0])
