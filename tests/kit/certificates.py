"""A certificate authority of our own, with good and bad certificates, by the openssl command."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from kit.not_run import program

DAYS = ("-days", "30")
SIGNS = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")


class Authority:
    """A root, an intermediate, and certificates for a name."""

    def __init__(self, folder: Path) -> None:
        self._binary = program("openssl")
        self.folder = folder
        self._make("root")  # as people make one, without keyUsage
        self._make("other", *SIGNS)
        self._make("middle", *SIGNS, signer="root")

    @property
    def ca_file(self) -> str:
        return str(self.folder / "root.pem")

    def server(self, *, name: str = "localhost", signer: str = "root", expired: bool = False) -> ssl.SSLContext:
        """A server's certificate. With the signer `middle` the intermediate is missing; `itself` is self-signed."""
        label = f"{name}-{signer}-{expired}"
        valid = ("-not_before", "20200101000000Z", "-not_after", "20200201000000Z") if expired else DAYS
        self._make(label, f"subjectAltName=DNS:{name}", "basicConstraints=CA:FALSE", signer=signer, valid=valid)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{label}.pem", self.folder / f"{label}.key")
        return context

    def _make(self, label: str, *extensions: str, signer: str = "itself", valid: tuple[str, ...] = DAYS) -> None:
        by = () if signer == "itself" else ("-CA", f"{signer}.pem", "-CAkey", f"{signer}.key")
        command = (self._binary, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        about = ("-keyout", f"{label}.key", "-out", f"{label}.pem", "-subj", f"/CN={label}", *valid, *by)
        more = (word for extension in extensions for word in ("-addext", extension))
        subprocess.run([*command, *about, *more], cwd=self.folder, check=True, capture_output=True)
