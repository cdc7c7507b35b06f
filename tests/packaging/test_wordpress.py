"""The WordPress plugin in a real WordPress, in a real browser, with a service that also fails and lies."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from conftest import missing
from kit.browser import SESSION, Browser, Live, Page, got
from kit.front import Front, Script, hangs, says
from kit.time import limit_s
from kit.wordpress import (
    CHOICES,
    PACKAGED,
    PASSWORD,
    TRACES,
    USER,
    Plugin,
    Tree,
    WordPress,
    under_php_74,
    wordpress_running,
)
from release_wordpress import PLUGIN, packed, taken

from ratesvc.features.docs import openapi_json
from ratesvc.render.openapi import Site

pytestmark = pytest.mark.nightly

PHP = {file.name: file.read_text("utf-8") for file in PLUGIN.glob("*.php")}
USUAL = {"lang": "en", "codes": "USD,EUR"}
EVERY_CHOICE = [*CHOICES, {"date": "2022-11-04", "lang": "zh-CN", "theme": "nonsense", "nothing": "1"}]


@pytest_asyncio.fixture(scope=SESSION, loop_scope=SESSION)
async def wordpress(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WordPress]:
    async with wordpress_running(tmp_path_factory.mktemp("wordpress")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope=SESSION)
async def plugin(wordpress: WordPress, live: Live) -> AsyncIterator[Plugin]:
    """As it is after its installation, with the service's address entered and nothing kept yet."""
    shutil.rmtree(wordpress.plugin, ignore_errors=True)
    shutil.copytree(PLUGIN, wordpress.plugin)
    async with Front(live.url) as front:
        await wordpress.run("echo activate_plugin( 'cbr-rates/cbr-rates.php' );")
        await wordpress.run("define( 'WP_UNINSTALL_PLUGIN', 1 ); require WP_PLUGIN_DIR . '/cbr-rates/uninstall.php';")
        options = {"cbr_rates_url": front.url, "test_patience": 8, "WPLANG": ""}
        await wordpress.run("".join(f"update_option( '{name}', '{value}' );" for name, value in options.items()))
        yield Plugin(wordpress, front)
        assert wordpress.complaints() == []


async def fragments(live: Live) -> AsyncIterator[tuple[dict[str, str], list[Any]]]:
    """Each kind of choice, and what the service itself makes of it for a page."""
    for choice in EVERY_CHOICE:
        query = {"lang": "en-US", **choice, "style": "none"}
        fragment = await got(f"{live.url}/widget?{urlencode(query)}")
        yield choice, Tree(fragment.partition("<script")[0]).found


async def test_rows_are_those_of_the_services_own_fragment(plugin: Plugin, live: Live) -> None:
    """Element by element, for every kind of choice; an unknown currency or parameter breaks nothing."""
    made = iter(await plugin.html(*EVERY_CHOICE))
    async for choice, fragment in fragments(live):
        assert Tree(next(made).rpartition("</style>")[2]).found == fragment, choice


async def test_php_7_4_makes_the_same_rows(live: Live, tmp_path: Path) -> None:
    """The oldest PHP, with WordPress' own functions, and without its database: no notice, no deprecation."""
    if not PACKAGED.exists():
        missing("wordpress")
    given = {"lang": "en-US"}
    texts = [await got(f"{live.url}/widget/nodes.json?{urlencode(given | one)}") for one in EVERY_CHOICE]
    (tmp_path / "answers.json").write_text(json.dumps(list(map(json.loads, texts))), "utf-8")
    names = ("compat", "plugin", "functions", "formatting", "kses", "l10n")
    code = f"""define( 'ABSPATH', '{PACKAGED}/' ); define( 'WPINC', 'wp-includes' );
    function sodium_crypto_box() {{}} // else WordPress brings its own
    foreach ( array{names} as $name ) {{ require ABSPATH . "wp-includes/$name.php"; }}
    require '{PLUGIN}/cbr-rates.php'; token_get_all( file_get_contents( '{PLUGIN}/uninstall.php' ), TOKEN_PARSE );
    foreach ( json_decode( file_get_contents( '{tmp_path}/answers.json' ), true ) as $one ) {{
      $made[] = cbr_rates_node( $one['content'] ); }}
    echo json_encode( $made );"""
    files = (*(PACKAGED / "wp-includes").glob("*.php"), *PLUGIN.glob("*.php"), tmp_path / "answers.json")
    made = iter(json.loads(await under_php_74(tmp_path, code, *files)))
    async for choice, fragment in fragments(live):
        assert Tree(next(made)).found == fragment, choice


JSON = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
CARD = ' style="display:grid;place-content:center;min-height:inherit;text-align:center;background:#8881;color:inherit"'
LINK = f'<a href="https://www.cbr.ru/currency_base/daily/"{CARD}>Bank of Russia exchange rates</a>'
LINK_IN_RUSSIAN = LINK.replace("Bank of Russia exchange rates", "Официальные курсы валют Банка России")


def document(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([JSON + b"Content-Length: %d" % len(body), *headers]) + b"\r\n\r\n" + body


FAILURES: dict[str, Callable[[bytes, int], Script]] = {
    "hangs": lambda _, __: hangs,
    "is too long": lambda rows, _: says(document(rows + b" " * 70_000)),
    "is elsewhere": lambda _, port: says(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/widget/nodes.json\r\nContent-Length: 0\r\n\r\n" % port
    ),
    "is a bomb": lambda rows, _: says(document(gzip.compress(rows + b" " * 100_000_000), b"Content-Encoding: gzip")),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_while_the_service_fails_readers_get_the_last_good_rows(failure: str, plugin: Plugin) -> None:
    """And soon, so that of two in a row only the first waits. test_php.py has how long that lasts."""
    (fresh,) = await plugin.html(USUAL)
    assert "60.3741" in fresh
    rows = json.dumps(await honest(plugin, urlencode(USUAL))).encode()
    await plugin.later(301)
    await plugin.wordpress.run("update_option( 'test_patience', 1 );")
    plugin.front.misbehave(FAILURES[failure](rows, plugin.front.upstream))
    begun = time.monotonic()
    assert await plugin.html(USUAL, {"lang": "ru"}) == [fresh, LINK_IN_RUSSIAN]
    assert time.monotonic() - begun < limit_s(3)


async def test_another_address_is_asked_at_once(plugin: Plugin) -> None:
    """And shows nothing of the one before."""
    (fresh,) = await plugin.html(USUAL)
    await plugin.wordpress.run("update_option( 'cbr_rates_url', 'http://127.0.0.1:1' );")
    assert await plugin.html(USUAL) == [LINK]
    # As the settings page takes it.
    await plugin.wordpress.run(f"update_option( 'cbr_rates_url', cbr_rates_address( '{plugin.front.url}' ) );")
    kept, asked = await plugin.html(USUAL, USUAL | {"layout": "bar"})
    assert kept == fresh
    assert "60.37" in asked


async def test_readers_wait_a_second_and_only_who_manages_the_site_sees_its_address(plugin: Plugin) -> None:
    """The trial on the settings page waits longer, so that it can say that the service is slow."""
    watch = "function ( $one ) { $GLOBALS['waits'][] = $one['timeout']; return $one; }"
    asks = "ob_start(); cbr_rates_html( array() ); cbr_rates_settings_trial( get_option( 'cbr_rates_url' ) );"
    code = f"add_filter( 'http_request_args', {watch}, 1 ); {asks} ob_end_clean();"
    code += "echo wp_json_encode( $GLOBALS['waits'] );"
    assert json.loads(await plugin.wordpress.run(code)) == [1, 10]
    menu = "cbr_rates_menu(); echo wp_json_encode( array_column( $submenu['options-general.php'] ?? array(), 2 ) );"
    reader = "wp_set_current_user( wp_insert_user( array( 'user_login' => uniqid(), 'user_pass' => 'x' ) ) );"
    seen = [
        await plugin.wordpress.run(f"global $submenu; $submenu = array(); {who} {menu}")
        for who in (reader, "wp_set_current_user( 1 );")
    ]
    assert list(map(json.loads, seen)) == [[], ["cbr-rates"]]


async def honest(plugin: Plugin, query: str) -> Any:
    return json.loads(await got(f"http://127.0.0.1:{plugin.front.upstream}/widget/nodes.json?{query}"))


async def logged_in(browser: Browser, wordpress: WordPress) -> Page:
    """A page of somebody who may do everything."""
    page = await browser.new_page(viewport={"width": 1200, "height": 900})
    await page.goto(f"{wordpress.url}/wp-login.php")
    await page.fill("#user_login", USER)
    await page.fill("#user_pass", PASSWORD)
    await page.click("#wp-submit")
    await page.wait_for_url("**/wp-admin/")
    return page


@pytest.mark.nightly
async def test_the_block_shows_what_its_author_chooses(plugin: Plugin, browser: Browser) -> None:
    """In the editor at once, with its style; on the page as it was there. Every choice of the builder has a control."""
    page = await logged_in(browser, plugin.wordpress)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"{plugin.wordpress.url}/wp-admin/post-new.php")
    await page.wait_for_function("window.wp?.data?.select( 'core/editor' ).__unstableIsEditorReady()")
    await page.evaluate("wp.data.dispatch( 'core/preferences' ).set( 'core/edit-post', 'welcomeGuide', false )")
    await page.evaluate("wp.data.dispatch( 'core/editor' ).editPost( { title: 'Rates' } )")
    await page.evaluate("""wp.data.dispatch( 'core/block-editor' ).insertBlocks(
      wp.blocks.createBlock( 'cbr-rates/rates', { lang: 'en', codes: 'USD,EUR' } ) )""")
    canvas = page.frame_locator("iframe[name=editor-canvas]")
    rows = canvas.locator(".cbr-rates")
    await rows.wait_for()
    assert "60.3741" in await rows.inner_text()
    assert await rows.evaluate("rows => getComputedStyle( rows.querySelector( 'tr' ) ).display") == "grid"
    await page.get_by_label("Layout").select_option("bar")
    await canvas.locator(".cbr-rates.cbr-bar").wait_for()
    await page.get_by_label("Currencies").press_sequentially("CNY,")
    await canvas.get_by_text("10 CNY").wait_for()
    await page.get_by_label("Heading", exact=True).select_option(label="Own words")
    await page.get_by_label("Own words").fill("Rates here")
    await canvas.get_by_text("Rates here,").wait_for()
    await page.get_by_label("Background").select_option(label="Own colour")
    await page.get_by_label("Own colour").fill("#dc3545")
    ground = canvas.locator(".cbr-own-dc3545")
    await ground.wait_for()
    assert await ground.evaluate("one => getComputedStyle( one ).backgroundColor") == "rgb(220, 53, 69)"
    await page.evaluate("wp.data.dispatch( 'core/editor' ).editPost( { status: 'publish' } )")
    await page.evaluate("wp.data.dispatch( 'core/editor' ).savePost()")
    await page.goto(await page.evaluate("wp.data.select( 'core/editor' ).getPermalink()"))
    assert "84.7201" in await page.inner_text(".wp-block-cbr-rates-rates > .cbr-rates.cbr-bar.cbr-own-dc3545")
    assert errors == []


@pytest.mark.slow
def test_the_block_has_the_choices_of_the_builder() -> None:
    """Each parameter of nodes.json."""
    operations = {one["path"]: one for one in openapi_json.operations(Site("http://x"), date(2022, 11, 18))}
    parameters = {parameter["name"] for parameter in operations["/widget/nodes.json"]["parameters"]} - {"code"}
    assert set(re.findall(r"^\t\t'([a-z_]+)' +=> \$", PHP["cbr-rates.php"], re.MULTILINE)) == parameters


@pytest.mark.nightly
async def test_it_is_installed_used_and_leaves_nothing(
    wordpress: WordPress, plugin: Plugin, browser: Browser, tmp_path: Path
) -> None:
    """The zip of `make dist`, the settings, a page without scripts, and away again: no row of the database names it."""
    await wordpress.run("deactivate_plugins( 'cbr-rates/cbr-rates.php' ); delete_option( 'cbr_rates_url' );")
    shutil.rmtree(wordpress.plugin)
    assert await wordpress.run(TRACES) == ""
    page = await logged_in(browser, wordpress)
    await page.goto(f"{wordpress.url}/wp-admin/plugin-install.php?tab=upload")
    await page.set_input_files("#pluginzip", packed(tmp_path))
    await page.click("#install-plugin-submit")
    await page.get_by_role("link", name="Activate Plugin").click()
    await page.locator("tr[data-slug=cbr-rates]").get_by_role("link", name="Settings").click()
    await page.fill("#cbr_rates_url", "gopher://nowhere")
    await page.click("#submit")
    assert "not an address" in await page.inner_text(".notice-error")
    await page.fill("#cbr_rates_url", f"{plugin.front.url}/")
    await page.click("#submit")
    assert "60.3741" in await page.inner_text(".cbr-rates")
    await plugin.front.close()
    await page.reload()
    assert "No rates came." in await page.inner_text(".notice-error")
    await plugin.front.open()
    address = await plugin.post(
        '[cbr_rates lang="ru" codes="USD,EUR"]\n\n[cbr_rates codes="USD,EUR,CNY" layout="line"]\n\n'
        'The dollar: [cbr_rates code="USD" layout="inline"].'
    )
    assert "cbr_rates_url" in await wordpress.run(f"set_transient( 'others', 1 ); {TRACES}")
    reader = await (await browser.new_context(java_script_enabled=False)).new_page()
    await reader.goto(address)
    assert "60,3741" in await reader.inner_text(".cbr-rates table")
    assert "The dollar: ₽60.39." in await reader.inner_text("main")
    # One line, although the theme lets headings of tables break.
    lines = "line => line.offsetHeight / parseFloat(getComputedStyle(line).fontSize)"
    assert await reader.locator(".cbr-line").evaluate(lines) == pytest.approx(2.13, abs=0.05)
    await page.goto(f"{wordpress.url}/wp-admin/plugins.php")
    row = page.locator("tr[data-slug=cbr-rates]")
    await row.get_by_role("link", name="Deactivate").click()
    page.on("dialog", lambda dialog: dialog.accept())
    await row.get_by_role("link", name="Delete").click()
    await page.get_by_text("CBR Rates was successfully deleted.").wait_for()
    assert await wordpress.run(TRACES) == ""
    assert await wordpress.run("echo get_transient( 'others' );") == "1"
    assert not wordpress.plugin.exists()


def test_the_plugin_has_what_it_takes_from_elsewhere() -> None:
    """`PYTHONPATH=. python tools/release_wordpress.py --take dist` writes it anew."""
    assert [file.name for file, content in taken().items() if file.read_bytes() != content] == []


async def test_it_speaks_russian_on_a_russian_site(plugin: Plugin) -> None:
    """Rows, the link without rows, and the controls of the block."""
    languages = plugin.wordpress.folder / "wp-content/languages"
    languages.mkdir()
    shutil.copy(PLUGIN / "languages/cbr-rates-ru_RU.mo", languages / "ru_RU.mo")  # WordPress has that language
    await plugin.wordpress.run("update_option( 'WPLANG', 'ru_RU' );")
    try:
        (rows,) = await plugin.html({})
        assert "Официальные курсы валют Банка России" in rows
        (link,) = await plugin.html({"date": "1991-01-01"})
        assert "Официальные курсы валют Банка России</a>" in link
        assert await plugin.wordpress.run("echo cbr_rates_choices()['layout']['label'];") == "Вид"
    finally:
        shutil.rmtree(languages)
