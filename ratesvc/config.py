"""config.yaml and the environment → Settings. An unknown or wrong setting stops the start, named by its full path.

The environment wins. A setting's variable is RATESVC_ and its path in capitals, without `server.`:
`cbr.mirrors` is RATESVC_CBR_MIRRORS, `server.port` is RATESVC_PORT. Commas separate the entries of a list.

Not pydantic-settings: it ignores unknown variables, its messages repeat values, which may be secrets, and it reads
neither commas nor `_FILE`. So the larger half of this file would stay. A health check would take 0.1 s more, and
production five packages more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from ratesvc.errors import ConfigError
from ratesvc.installed import FEATURES
from ratesvc.storage.address import AUTHORITIES, TLS_OPTIONS, RedisAddress

PREFIX = "RATESVC_"
CONFIG_FILE_VARIABLE = PREFIX + "CONFIG"
DEFAULT_FILE = Path("config.yaml")
SECRETS = ("RATESVC_REDIS_URL", "RATESVC_CBR_PROXY")
"""They may hold a password, so the same name with _FILE gives a file that holds the value."""

# If a value is wrong, the error says what it must be in the words of the description.
Port = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535")]
Seconds = Annotated[float, Meta(gt=0, le=86400, description="a number of seconds above 0, up to 86400")]
FeatureName = Annotated[str, Meta(pattern=rf"^({'|'.join(FEATURES)})\Z", description=f"one of {', '.join(FEATURES)}")]
_PORT = "[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_ORIGIN = rf"(?i:https?)://([^\s/]*@)?(\[[0-9a-fA-F:.]+\]|[^\s/?#@:\[\]]+)(:({_PORT}))?"
_BASE = rf"{_ORIGIN}(/[^\s?#]*)?"
# It stands in pages and snippets, so it has no password, and no character that an address never has (RFC 3986).
_NEVER = r"""\s"'<>\\^`{|}"""
_PUBLIC = rf"(?i:https?)://(\[[0-9a-fA-F:.]+\]|[^/?#@:\[\]{_NEVER}]+)(:({_PORT}))?(/[^?#{_NEVER}]*)?"
BaseAddress = Annotated[str, Meta(pattern=rf"^{_BASE}\Z", description="a base address such as https://www.cbr.ru")]
HostName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]{1,253}\Z", description="a host name such as www.cbr.ru")]

_IN_WORDS = {str: "text", bool: "true or false", date: "a day such as 2026-05-04"}


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of settings. An unknown key in it is an error."""


class Server(_Section, frozen=True):
    """The address where the service listens, and the one at which readers reach it."""

    host: Annotated[str, Meta(min_length=1, description="an address of this machine such as 127.0.0.1")] = "127.0.0.1"
    port: Port = 8080
    public_url: Annotated[
        str, Meta(pattern=rf"^({_PUBLIC})?\Z", description="a base address such as https://rates.example")
    ] = ""
    admin_port: Port | None = None
    reuse_port: bool = False
    drain_seconds: Annotated[float, Meta(ge=0, le=600, description="a number of seconds from 0 to 600")] = 5.0

    def __post_init__(self) -> None:
        if self.admin_port and self.admin_port == self.port:
            raise ValueError("admin_port must be another port than server.port")
        if not self.public_url.isascii():
            from yarl import URL  # noqa: PLC0415 -- a health check does without it

            try:
                # As browsers and Content-Security-Policies compare it: xn--e1afmkfd.xn--p1ai for пример.рф.
                msgspec.structs.force_setattr(self, "public_url", str(URL(self.public_url)))
            except ValueError:
                raise ValueError("public_url has a name that no host can have") from None

    @property
    def local_host(self) -> str:
        """The address by which a program on this machine reaches the service."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 -- compared with

    def local_url(self, port: int | None = None) -> str:
        """The address of one of its ports for such a program, by default the public one."""
        host = f"[{self.local_host}]" if ":" in self.local_host else self.local_host
        return f"http://{host}:{self.port if port is None else port}"


class Redis(_Section, frozen=True):
    """An external Redis or Valkey; without `url` the embedded engine starts."""

    url: str = ""
    namespace: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z", description="1 to 64 letters, digits, dots, dashes or underscores"),
    ] = "ratesvc"

    def __post_init__(self) -> None:
        if not self.url:
            return
        try:
            address = RedisAddress.from_url(self.url)
        except ValueError as error:
            raise ValueError(f"url {error}") from None
        for name in TLS_OPTIONS:
            file = address.options.get(name)
            if file and not Path(file).is_file():
                raise ValueError(f"url names a file for {name} that does not exist")
            if file and name == AUTHORITIES:
                _check_certificates(file, f"url names a file for {name}")


class Cbr(_Section, frozen=True):
    """How the Bank is reached. `host_names` are names of the Bank for which this service answers as a proxy."""

    mirrors: Annotated[
        tuple[BaseAddress, ...],
        Meta(min_length=1, max_length=10, description="one to ten base addresses such as https://www.cbr.ru"),
    ] = ("https://www.cbr.ru",)
    user_agent: Annotated[
        str, Meta(pattern=r"^[\x20-\x7e]{1,200}\Z", description="1 to 200 Latin letters, digits, signs or blanks")
    ] = "ratesvc"
    host_names: tuple[HostName, ...] = ("www.cbr.ru", "cbr.ru")
    backfill_gap_seconds: Annotated[float, Meta(ge=0, le=3600, description="a number of seconds from 0 to 3600")] = 1.0
    proxy: Annotated[
        str, Meta(pattern=rf"^({_ORIGIN}/?)?\Z", description="an address such as http://proxy.example:3128")
    ] = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        if self.ca_file:
            _check_certificates(self.ca_file, "ca_file names a file")


def _check_certificates(file: str, named: str) -> None:
    import ssl  # noqa: PLC0415 -- few settings name such a file

    try:
        ssl.create_default_context(cafile=file)
    except FileNotFoundError:
        raise ValueError(f"{named} that does not exist") from None
    except OSError:
        raise ValueError(f"{named} that holds no certificates in PEM") from None


class Calendar(_Section, frozen=True):
    """Days off and working days by decree that the production calendar does not know."""

    extra_off: tuple[date, ...] = ()
    extra_work: tuple[date, ...] = ()


class Log(_Section, frozen=True):
    """What is written to standard error."""

    format: Literal["console", "json"] = "console"
    access: bool = False


class Settings(_Section, frozen=True):
    """Every setting."""

    data_dir: Annotated[str, Meta(min_length=1, description="the path of a folder")]
    server: Server = Server()
    redis: Redis = Redis()
    cbr: Cbr = Cbr()
    poll_seconds: Seconds | None = None
    calendar: Calendar = Calendar()
    features: tuple[FeatureName, ...] = FEATURES
    log: Log = Log()


def variables(
    section: type[_Section] = Settings, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Every setting: its variable, its path in config.yaml, its type."""
    for name, kind in get_type_hints(section, include_extras=True).items():
        here = (*path, name)
        if isinstance(kind, type) and issubclass(kind, _Section):
            yield from variables(kind, here)
        else:
            yield PREFIX + "_".join(here).upper().removeprefix("SERVER_"), here, kind


def load(file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Read the settings of the file and the environment. Raises ConfigError with one line that names the key."""
    environment = _with_secrets(environment)
    named = environment.get(CONFIG_FILE_VARIABLE)
    tree = _read(file or (Path(named) if named else DEFAULT_FILE if DEFAULT_FILE.exists() else None))
    known = {variable: (path, kind) for variable, path, kind in variables()}
    given = sorted(name for name in environment if name.startswith(PREFIX) and name != CONFIG_FILE_VARIABLE)
    for variable in given:
        if variable not in known:
            raise ConfigError(f"{variable}: no such setting")
        path, kind = known[variable]
        _put(tree, path, _from_text(environment[variable], kind))
    if "data_dir" not in tree:
        tree["data_dir"] = str(_users_data(environment))
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        overridden = {".".join(known[variable][0]): variable for variable in given}
        raise ConfigError(_explained(str(error), overridden)) from None


def _users_data(environment: Mapping[str, str]) -> Path:
    """Where a user's programs keep their data, https://specifications.freedesktop.org/basedir-spec/latest/."""
    named = Path(environment.get("XDG_DATA_HOME", ""))
    try:
        home = Path(environment.get("HOME") or "~").expanduser()
    except RuntimeError:
        raise ConfigError("RATESVC_DATA_DIR: must be set, because this user has no home folder") from None
    return (named if named.is_absolute() else home / ".local/share") / "ratesvc"


def _with_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the content of the files that it names for secrets."""
    variables = dict(environment)
    for variable in SECRETS:
        if not (file := variables.pop(f"{variable}_FILE", "")):
            continue
        if variables.get(variable):
            raise ConfigError(f"{variable}_FILE: {variable} is set, too")
        try:
            variables[variable] = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigError(f"{variable}_FILE: {file}: {reason}") from None
        if not variables[variable]:
            # Empty would mean the embedded engine, or no proxy.
            raise ConfigError(f"{variable}_FILE: {file}: empty")
    return variables


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    import yaml  # noqa: PLC0415 -- a third of the time of a health check, which mostly has no file

    try:
        text = file.read_bytes()
        for wrong, line in _wrong_keys(yaml.compose(text, yaml.SafeLoader)):
            raise ConfigError(f"{file}: {wrong}, line {line}")
        tree = yaml.safe_load(text) or {}
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{file}: not YAML" + (f", line {mark.line + 1}" if mark else "")) from None
    except RecursionError:
        raise ConfigError(f"{file}: nested too deeply, perhaps by an alias") from None
    except ValueError:
        raise ConfigError(f"{file}: not YAML in UTF-8, or it holds a day that does not exist") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: not a table of settings")
    return tree


def _wrong_keys(node: Any, path: str = "") -> Iterator[tuple[str, int]]:
    """What is wrong with a key, and its line: it is not text, or given twice, of which YAML would take the last."""
    seen: set[str] = set()
    for key, value in node.value if node is not None and node.id == "mapping" else ():
        if not key.tag.endswith((":str", ":merge")):
            yield "a key is not text", key.start_mark.line + 1
        if key.value in seen:
            yield f"{path}{key.value} is given twice", key.start_mark.line + 1
        seen.add(key.value)
        yield from _wrong_keys(value, f"{path}{key.value}.")


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        if tree.get(name) is None:
            tree[name] = {}
        tree = tree[name]
        if not isinstance(tree, dict):
            raise ConfigError(f"{name}: must be a table of settings")
    tree[path[-1]] = value


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _from_text(text: str, kind: Any) -> Any:
    if get_origin(_bare(kind)) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if _bare(kind) is bool:
        return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower(), text)
    return None if text == "" and type(None) in get_args(kind) else text


def _explained(message: str, overridden: Mapping[str, str]) -> str:
    """msgspec's «… - at `$.server.port`» in plain words, with the key, or its variable, in front."""
    reason, where = message, ""
    if place := re.search(r" - at `\$\.([^`]*)`$", message):
        reason, where = message[: place.start()], place[1]
    if unknown := re.search(r"unknown field `([^`]+)`", reason):
        return f"{where}.{unknown[1]}".removeprefix(".") + ": no such setting"
    key, is_entry, _ = where.partition("[")
    # A section's own check starts with the name of its key.
    variable = overridden.get(key) or overridden.get(f"{key}.{reason.split(' ', 1)[0]}")
    kinds = {".".join(path): kind for _, path, kind in variables()}
    # The value stays out of the message: it may be a secret.
    if key in kinds:
        kind = get_args(_bare(kinds[key]))[0] if is_entry and not variable else kinds[key]
        reason = f"must be {_in_words(kind, 'empty' if variable else 'null')}"
    elif reason.startswith("Expected `object`"):
        reason = "must be a table of settings"
    return f"{variable or where}: {reason}"


def _in_words(kind: Any, nothing: str) -> str:
    """What a value of this type must be; `nothing` is how an absent value is written."""
    for note in getattr(kind, "__metadata__", ()):
        if note.description:
            return str(note.description)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(arguments)
    if origin is tuple:
        return f"a list, each entry {_in_words(arguments[0], nothing)}"
    return f"{_in_words(arguments[0], nothing)}, or {nothing}" if arguments else _IN_WORDS[kind]
