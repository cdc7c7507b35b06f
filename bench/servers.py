"""The servers of a benchmark as real processes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from kit.service import begun, free_port

HERE = Path(__file__).parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = (CORES[0], CORES[1]) if len(CORES) > 1 else (None, None)

NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
worker_rlimit_nofile 20000; events {{ worker_connections 8192; }}
http {{
 access_log off; keepalive_requests 100000000; open_file_cache max=100; sendfile on; tcp_nopush on; types {{ }}
 client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
 uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
 server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}; {locations} }}
}}
"""


@dataclass
class Server:
    """One running process, and where it listens."""

    name: str
    port: int
    pid: int

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"


OWN_OF_NGINX = ("Content-Type", "Etag")
Running = AbstractAsyncContextManager[Server]


def pin(pid: int, core: int | None) -> None:
    """Keep a process, and the threads it will start, on one core, where the system can."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


@asynccontextmanager
async def started(name: str, port: int, *command: str, probe: str, **variables: str) -> AsyncIterator[Server]:
    """The process, once `probe` answers; ended with the context."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parent), **variables}
    with (Path(os.environ["BENCH_FOLDER"]) / "servers.log").open("ab") as log:
        async with begun(*command, out=log, err=log, end=signal.SIGTERM, env=environment) as process:
            pin(process.pid, SERVER_CORE)
            server = Server(name, port, process.pid)
            async with aiohttp.ClientSession() as http, asyncio.timeout(60):
                while not await _answers(http, server.url + probe):
                    if process.returncode is not None:
                        raise RuntimeError(f"{name} ended; see {log.name}")
                    await asyncio.sleep(0.002)
            yield server


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


OURS = "import sys; from ratesvc.web import fast_path; {}; from ratesvc.cli import main; main(['serve'])"


def ours(name: str, variables: Mapping[str, str], *, express: bool = True) -> Running:
    """`ratesvc serve`; without the fast path by telling it that it was tested with another aiohttp."""
    port = free_port()
    code = OURS.format("pass" if express else "fast_path.TESTED = 'none'")
    command = (sys.executable, "-W", "ignore", "-c", code)
    return started(name, port, *command, probe="/v1/rates", RATESVC_PORT=str(port), **variables)


def plain(folder: Path) -> Running:
    """Plain aiohttp."""
    port = free_port()
    command = (sys.executable, str(HERE / "others.py"), str(folder), str(port))
    return started("plain", port, *command, probe="/identity")


def nginx(folder: Path) -> Running:
    """The same bytes as static files, with the same headers."""
    port = free_port()
    locations = " ".join(map(_location, sorted(folder.glob("*.json"))))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, locations=locations))
    command = (shutil.which("nginx") or "nginx", "-c", str(folder / "nginx.conf"), "-e", "stderr")
    return started("nginx", port, *command, probe="/identity")


def _location(saved: Path) -> str:
    sent = json.loads(saved.read_text())
    added = " ".join(f'add_header {name} "{value}";' for name, value in sent.items() if name not in OWN_OF_NGINX)
    kind = f'default_type "{sent["Content-Type"]}"'
    return f"location = /{saved.stem} {{ {kind}; {added} try_files $uri.body =404; }}"


async def save(folder: Path, name: str, url: str, headers: Mapping[str, str]) -> None:
    """Keep our answer, so that the other servers send the same."""
    async with aiohttp.ClientSession(auto_decompress=False) as http, http.get(url, headers=headers) as answer:
        answer.raise_for_status()
        (folder / f"{name}.body").write_bytes(await answer.read())
        sent = {key: value for key, value in answer.headers.items() if key not in ("Date", "Server", "Content-Length")}
        (folder / f"{name}.json").write_text(json.dumps(sent))
