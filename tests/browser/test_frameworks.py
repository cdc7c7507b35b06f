"""The lines of docs/widget.md for other people's programs, run by these programs: rows appear, and follow a change."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from conftest import missing, program
from kit.browser import SESSION, Browser, Host, Live, Page, got, live_service, pasted
from kit.cases import script
from kit.service import ROOT, finished
from kit.wordpress import under_php_74

pytestmark = pytest.mark.nightly

MODULES = Path(__file__).parent / "node_modules"
GUIDE = (ROOT / "docs/widget.md").read_text("utf-8")
HERE = "http://localhost:8080"


def block(title: str, language: str) -> str:
    """The block in this language after this title."""
    found = re.search(rf"^```{language}\n(.*?)^```$", GUIDE.partition(f"**{title}**")[2], re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


async def bundled(folder: Path, source: str, *options: str, mode: str = "production") -> str:
    """The source and its packages as one script."""
    esbuild = ROOT / "tools/node_modules/.bin/esbuild"
    if not esbuild.exists():
        missing("esbuild (npm)")
    (folder / "node_modules").symlink_to(MODULES)
    (folder / "main.jsx").write_text(source, "utf-8")
    define = ("--bundle", "--log-level=warning", f'--define:process.env.NODE_ENV="{mode}"', "--jsx=automatic")
    code, out, err = await finished(esbuild, "main.jsx", *define, *options, cwd=folder)
    assert code == 0, err
    return out


async def shows(page: Page, *texts: str) -> None:
    """Wait until the element shows these texts."""
    for text in texts:
        await page.locator("cbr-rates", has_text=text).first.wait_for()


@pytest_asyncio.fixture(loop_scope=SESSION)
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A window in which nothing may go wrong."""
    page = await browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    assert errors == []


async def test_react_renders_it_on_the_server_and_in_the_browser(
    page: Page, live: Live, host: Host, tmp_path: Path
) -> None:
    """Hydration finds what the server wrote; a property that changes brings other rows; the script is there once."""
    component = block("React, Next", "jsx").replace(HERE, live.url)
    server = f"""import {{ renderToString }} from "react-dom/server"; {component}
    console.log(renderToString(<Rates codes="USD" />));"""
    client = f"""import {{ hydrateRoot }} from "react-dom/client"; {component}
    const [app, onRecoverableError] = [document.querySelector("#app"), console.error];
    const root = hydrateRoot(app, <Rates codes="USD" />, {{ onRecoverableError }});
    window.change = () => root.render(<><Rates codes="CNY" /><Rates codes="EUR" layout="line" /></>);"""
    for name in ("server", "client"):
        (tmp_path / name).mkdir()
    (tmp_path / "server/run.cjs").write_text(await bundled(tmp_path / "server", server, "--platform=node"), "utf-8")
    code, html, err = await finished(program("node"), "run.cjs", cwd=tmp_path / "server")
    assert code == 0, err
    script = await bundled(tmp_path / "client", client)
    await page.goto(host.put(f'<div id="app">{html.strip()}</div><script>{script}</script>'))
    await shows(page, "60.3741")
    await page.evaluate("change()")
    await shows(page, "84.7201", "62.45")
    assert await page.locator("script[src$='/widget/rates.js']").count() == 1


@pytest.mark.parametrize("version", ["18", "19"])
async def test_react_finds_what_its_server_wrote_after_the_rows_have_come(
    page: Page, live: Live, host: Host, tmp_path: Path, version: str
) -> None:
    """A loader that was faster than React has changed no attribute, so hydration says nothing, in development mode."""
    app = """const app = <cbr-rates lang="en" height="460" style={{ display: "block", height: "460px" }}>
      <a href="https://www.cbr.ru/">Bank of Russia</a></cbr-rates>;"""
    server = f'import {{ renderToString }} from "react-dom/server"; {app} console.log(renderToString(app));'
    client = f"""import {{ hydrateRoot }} from "react-dom/client"; {app}
    window.hydrate = () => hydrateRoot(document.querySelector("#app"), app, {{ onRecoverableError: console.error }});"""
    alias = () if version == "19" else ("--alias:react=react18", "--alias:react-dom=react-dom18")
    for name in ("server", "client"):
        (tmp_path / name).mkdir()
    script = await bundled(tmp_path / "server", server, "--platform=node", *alias, mode="development")
    (tmp_path / "server/run.cjs").write_text(script, "utf-8")
    code, html, err = await finished(program("node"), "run.cjs", cwd=tmp_path / "server")
    assert code == 0, err
    script = await bundled(tmp_path / "client", client, *alias, mode="development")
    loader = f'<script async src="{live.url}/widget/rates.js"></script>'
    await page.goto(host.put(f'<div id="app">{html.strip()}</div>{loader}<script>{script}</script>'))
    await shows(page, "60.3741")
    assert await page.evaluate("document.querySelector('cbr-rates').matches(':state(load)')")
    await page.evaluate("hydrate()")
    await page.wait_for_function(
        "Object.keys(document.querySelector('cbr-rates')).some(key => key.startsWith('__reactProps'))"
    )
    await shows(page, "60.3741")


SEEN = script("said by an element")


@pytest.mark.parametrize("key", ["react", "vue"])
async def test_a_component_shows_what_its_tab_shows(
    page: Page, live: Live, host: Host, tmp_path: Path, key: str
) -> None:
    """The tab's preview is the element. Every choice is there, a heading with quotes and braces, too."""
    codes = [
        await pasted(live.url, one, "lang=ru&codes=JPY&converter=1&heading=%22%7Ba%7D%5C") for one in (key, "element")
    ]
    code = f"""const app = Vue.createApp({{ template: {json.dumps(codes[0].partition("<script")[0])} }});
    app.config.compilerOptions.isCustomElement = (tag) => tag.startsWith("cbr-");
    app.config.warnHandler = console.error;
    app.mount("#app");"""
    if key == "react":
        source = f"""import {{ createRoot }} from "react-dom/client"; {codes[0]}
        createRoot(document.querySelector("#app")).render(<Rates />);"""
        code = await bundled(tmp_path, source)
    await page.route("**/vue.js", lambda route: route.fulfill(path=MODULES / "vue/dist/vue.global.js"))
    body = f'<main>{codes[1]}</main><div id="app"></div><script src="/vue.js"></script><script>{code}</script>'
    await page.goto(host.put(body))
    await page.locator("cbr-rates:state(load) [role=textbox], cbr-rates:state(load) input").nth(1).wait_for()
    pasted_element, component = await page.evaluate(SEEN)
    assert component == pasted_element
    assert '"{a}\\' in component[3]


WRONG = ("layout='lin'", "codes={1}", "spark={5}", "colour='red'")
USES = script("uses of the types")


async def test_typescript_knows_the_element_in_react_and_vue(live: Live, tmp_path: Path) -> None:
    """Right attributes compile, also in a project with neither library; each wrong one is refused."""
    if not (MODULES / ".bin" / "tsc").exists():
        missing("typescript (npm)")
    (tmp_path / "rates.d.ts").write_text(await got(f"{live.url}/widget/rates.d.ts"), "utf-8")
    alone = "export const found = document.querySelector('cbr-rates')?.matches(':state(load)');"
    (tmp_path / "alone.ts").write_text(alone, "utf-8")
    options = ("--noEmit", "--strict", "--jsx", "react-jsx", "--module", "esnext", "--moduleResolution", "bundler")
    tsc = (MODULES / ".bin" / "tsc", *options, "--target", "es2022", "rates.d.ts")
    code, out, _ = await finished(*tsc, "alone.ts", cwd=tmp_path)
    assert (code, out) == (0, "")
    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "uses.tsx").write_text(USES, "utf-8")
    code, out, _ = await finished(*tsc, "--skipLibCheck", "uses.tsx", cwd=tmp_path)
    assert (code, out) == (0, "")
    (tmp_path / "wrong.tsx").write_text(
        "\n".join(f"export const w{at} = <cbr-rates {one} />;" for at, one in enumerate(WRONG)), "utf-8"
    )
    code, out, _ = await finished(*tsc, "--skipLibCheck", "wrong.tsx", cwd=tmp_path)
    assert [int(line) for line in re.findall(r"^wrong.tsx\((\d+),", out, re.MULTILINE)] == [1, 2, 3, 4], out


async def test_vue_takes_it_for_an_element(page: Page, live: Live, host: Host) -> None:
    """Vue compiles the template with these options without a word about a missing component."""
    config, template = block("Vue, Nuxt", "js").replace(HERE, live.url), block("Vue, Nuxt", "html")
    code = f"""const defineNuxtConfig = given => given; {config.replace("export default", "const config =")}
    for (const {{ src, async, crossorigin }} of config.app.head.script)
      document.head.append(Object.assign(document.createElement("script"), {{ src, async, crossOrigin: crossorigin }}));
    window.codes = Vue.ref("USD");
    const app = Vue.createApp({{ template: {json.dumps(template)}, setup: () => ({{ codes }}) }});
    app.config.compilerOptions = config.vue.compilerOptions;
    app.config.warnHandler = console.error;
    app.mount("#app");"""
    await page.route("**/vue.js", lambda route: route.fulfill(path=MODULES / "vue/dist/vue.global.js"))
    await page.goto(host.put(f'<div id="app"></div><script src="/vue.js"></script><script>{code}</script>'))
    await shows(page, "60.3741")
    await page.evaluate("codes.value = 'CNY'")
    await shows(page, "84.7201")


async def test_hugo_builds_a_page_with_it(page: Page, live: Live, host: Host, tmp_path: Path) -> None:
    """The shortcode passes its parameters on."""
    files = {
        "hugo.toml": 'languageCode = "ru"\ndefaultContentLanguage = "ru"\ndisableKinds = ["taxonomy", "sitemap"]\n',
        "layouts/shortcodes/rates.html": block("Hugo", "html").replace(HERE, live.url),
        "layouts/index.html": "{{ .Content }}",
        "content/_index.md": "+++\n+++\n" + re.findall(r"`\{\{</\* (.*?) \*/>\}\}`", GUIDE)[0].join(["{{< ", " >}}\n"]),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    code, out, err = await finished(program("hugo"), "--quiet", cwd=tmp_path)
    assert code == 0, out + err
    await page.goto(host.put((tmp_path / "public/index.html").read_text("utf-8")))
    await shows(page, "60,37", "62,45")
    assert await page.locator("cbr-rates tbody tr").count() == 2


# PHP takes these before its own: an answer with its headers, and later no answer.
ANSWERS = script("answers for PHP")


async def test_every_line_of_the_builders_php_runs_on_7_4(tmp_path: Path) -> None:
    """It shows an answer, keeps it while it is right and while nobody answers, and then shows the link."""
    area, rows, answers = tmp_path / "rates.php", tmp_path / "rows.html", tmp_path / "answers.php"
    async with live_service(tmp_path / "data") as live:
        code = await pasted(live.url, "php", "lang=en")
        rows.write_text(await got(f"{live.url}/widget?shadow=1&lang=en"), "utf-8")
    assert code.count("<?php") == 1
    area.write_text(code.replace("<?php", "<?php namespace site;"), "utf-8")
    answers.write_text(ANSWERS.replace("ROWS", str(rows)), "utf-8")
    visits = (
        f"foreach ( array( 0, 30, 300, 700 ) as $later ) {{ include_once '{answers}'; include '{area}'; echo '§'; }}"
    )
    fresh, right, kept, old, _ = (await under_php_74(tmp_path, visits, area, rows, answers)).split("§")
    assert "60.3741" in fresh
    assert fresh == right == kept
    assert re.fullmatch("<a href=[^>]*>Bank of Russia exchange rates</a>", old)


# What the component does with an area, as far as the area can see it.
COMPONENT = """class CMain { function IncludeComponent( $name, $template, $parameters ) {
  ob_start(); include 'SITE' . $parameters['PATH']; $shown = ob_get_clean(); echo "[$name $shown]"; } }
$APPLICATION = new CMain(); include 'SITE/page.php';"""


async def test_an_include_area_of_bitrix_shows_rates(tmp_path: Path) -> None:
    """From inside a method, twice on a page. PHP 7.4, which has no network here, shows the link."""
    line = block("Bitrix", "php").strip()
    page, area = tmp_path / "page.php", tmp_path / "include/rates.php"
    area.parent.mkdir()
    page.write_text(f"<h1>News</h1>{line}{line}<p>The end</p>", "utf-8")
    code = COMPONENT.replace("SITE", str(tmp_path))
    async with live_service(tmp_path / "data") as live:
        area.write_text(await pasted(live.url, "php", "lang=en"), "utf-8")
        php = (program("php"), "-d", f"sys_temp_dir={tmp_path}", "-d", "display_errors=stderr")
        status, made, errors = await finished(*php, "-r", code, cwd=tmp_path)
    assert (status, errors, made.count("60.3741")) == (0, "", 2)
    assert re.match(
        r"<h1>News</h1>\[bitrix:main.include .*\]\[bitrix:main.include .*\]<p>The end</p>$", made, re.DOTALL
    )
    old = await under_php_74(tmp_path, code, page, area)
    assert old.count("Bank of Russia exchange rates</a>]") == 2
