"""A real WordPress over a real MariaDB, as Debian packages them, in a folder of its own."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp

from kit.cases import script
from kit.front import Front
from kit.not_run import missing, program
from kit.service import ROOT, finished, free_port, output_of, started

PACKAGED = Path("/usr/share/wordpress")
BROWSER = ROOT / "tests/browser"
CHOICES = [
    dict(parse_qsl(query))
    for query in (
        "",
        "lang=ru&spark=30&columns=name,today,next,change,percent&href=https://a.example/{code}?x=1%26y",
        "lang=ar&codes=USD,JPY&theme=%23dc3545",
        "lang=ru&layout=line&codes=USD,EUR",
        'layout=bar&theme=dark&updown=blue-orange&heading=Rates <b>%26amp; "more" o\'clock',
        "layout=inline&codes=USD",
        "layout=converter&codes=EUR",
        "converter=1&head=0&unit=1&symbols=1&decimals=2&heading=none&spark=30",
    )
]
"""What authors choose, of each kind."""
USER, PASSWORD = "editor", "a long password"
# What makes a database small and quick that nobody wants to keep.
MARIADB = (
    "--no-defaults",
    "--innodb-log-file-size=4M",
    "--innodb-undo-tablespaces=0",
    "--innodb-flush-method=nosync",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
)
CONFIG = script("wp-config.php")
INSTALL = """define( 'WP_INSTALLING', true ); require 'wp-load.php'; require ABSPATH . 'wp-admin/includes/upgrade.php';
add_filter( 'pre_wp_mail', '__return_true' );
wp_install( 'News', '{user}', 'editor@news.example', true, '', '{password}' );
update_option( 'show_avatars', 0 );"""


# A plugin for tests only: what is posted runs after all other plugins; a crowded machine has more time for requests.
RUNS = """<?php add_filter( 'http_request_args', function ( $given ) {
return array( 'timeout' => $given['timeout'] * get_option( 'test_patience', 1 ) ) + $given; } );
add_action( 'init', function () { if ( isset( $_POST['run'] ) ) {
require_once ABSPATH . 'wp-admin/includes/admin.php'; eval( wp_unslash( $_POST['run'] ) ); exit; } }, 999 );"""


# Moves everything that is kept so many seconds into the past.
LATER = script("later")
# Rows that name the plugin, but for posts, which are their authors', and WordPress' list of plugins that were active.
TRACES = script("traces")
# The HTML of each choice, in one request.
HTML = """foreach ( json_decode( base64_decode( 'CHOICES' ), true ) as $one ) {
  FORGET $all[] = cbr_rates_html( $one );
} echo wp_json_encode( $all );"""


@dataclass
class WordPress:
    """A site and its address."""

    url: str
    folder: Path

    @property
    def plugin(self) -> Path:
        """Where the plugin is, if it is installed."""
        return self.folder / "wp-content/plugins/cbr-rates"

    async def run(self, code: str) -> str:
        """What this code prints inside of WordPress."""
        async with aiohttp.ClientSession() as http, http.post(self.url, data={"run": code}) as answer:
            text = await answer.text()
        assert answer.status == 200, text
        return text

    def complaints(self) -> list[str]:
        """What PHP said about our files since the last call."""
        log = self.folder.parent / "debug.log"
        lines = log.read_text("utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in lines if "cbr-rates" in line or "Fatal" in line]


@dataclass
class Plugin:
    """Our plugin, active in WordPress, and a front before the service that may do anything."""

    wordpress: WordPress
    front: Front

    async def html(self, *choices: dict[str, str], pausing: bool = True) -> list[str]:
        """What the shortcode gives for these attributes. Without `pausing` it asks again after a failure at once."""
        given = base64.b64encode(json.dumps(choices).encode()).decode()
        forget = "" if pausing else "delete_transient( 'cbr_rates_pause' );"
        told = await self.wordpress.run(HTML.replace("CHOICES", given).replace("FORGET", forget))
        assert self.wordpress.complaints() == []
        found: list[str] = json.loads(told)
        return found

    async def later(self, seconds: int) -> None:
        """As if so much time had passed."""
        await self.wordpress.run(LATER.replace("SECONDS", str(seconds)))

    async def post(self, content: str) -> str:
        """The address of a post with this content."""
        post = f"array( 'post_title' => 'Post', 'post_status' => 'publish', 'post_content' => '{content}' )"
        return f"{self.wordpress.url}/?p={await self.wordpress.run(f'echo wp_insert_post( {post} );')}"


@asynccontextmanager
async def wordpress_running(folder: Path) -> AsyncIterator[WordPress]:
    """WordPress with one user and without our plugin."""
    if not PACKAGED.exists():
        missing("wordpress")
    php, port = (program("php"), "-d", "opcache.enable_cli=1"), free_port()
    url, site, log = f"http://127.0.0.1:{port}", folder / "site", folder / "debug.log"
    async with mariadb(folder) as database:
        shutil.copytree(PACKAGED, site, ignore=shutil.ignore_patterns(".htaccess", "akismet"))
        (site / "wp-config.php").write_text(CONFIG.format(database=database, url=url, log=log), "utf-8")
        (site / "favicon.ico").touch()  # else a browser gets the home page with all posts for it
        (site / "wp-content/mu-plugins").mkdir()
        (site / "wp-content/mu-plugins/runs.php").write_text(RUNS, "utf-8")
        output_of(*php, "-r", INSTALL.format(user=USER, password=PASSWORD), folder=site)
        async with started(port, *php, "-S", f"127.0.0.1:{port}", "-t", str(site), log=folder / "php.log"):
            yield WordPress(url, site)


@asynccontextmanager
async def mariadb(folder: Path) -> AsyncIterator[str]:
    """A server with an empty database `test`. Yields its address."""
    port, data = free_port(), folder / "db"
    options = (*MARIADB, f"--datadir={data}", *(("--user=root",) if os.geteuid() == 0 else ()))
    output_of(program("mariadb-install-db"), *options, "--auth-root-authentication-method=normal", "--skip-test-db")
    address = ("--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder}/db.sock")
    async with started(port, program("mariadbd"), *options, *address, log=folder / "mariadb.log"):
        admin = (program("mariadb-admin"), "--no-defaults", "--user=root", "--protocol=tcp", f"--port={port}")
        output_of(*admin, "create", "test")
        yield f"127.0.0.1:{port}"


async def under_php_74(folder: Path, code: str, *files: Path) -> str:
    """What this code prints under PHP 7.4, which may read these files where they are. It says nothing of its own."""
    main, own = folder / "main.php", BROWSER / "php74.mjs"
    main.write_text(f"<?php error_reporting( E_ALL ); ini_set( 'display_errors', 'stderr' ); {code}", "utf-8")
    if not (BROWSER / "node_modules/@php-wasm").exists():
        missing("@php-wasm/node-7-4 (npm)")
    status, out, err = await finished(program("node"), own, main, *files, cwd=folder)
    assert (status, err) == (0, ""), err
    return out


class Tree(HTMLParser):
    """HTML as a list of elements and texts, without blanks between elements, and without empty attributes.

    `depths` are after each tag: of one whole element, 0 at its end and not before.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.depths: list[int] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, sorted((name, text) for name, text in attrs if text)))
        self.depths.append((self.depths or [0])[-1] + 1)

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"</{tag}>")
        self.depths.append(self.depths[-1] - 1)

    def handle_data(self, data: str) -> None:
        if "\n" not in data or data.strip():
            self.found.append(data)
