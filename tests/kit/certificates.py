"""A certificate authority of our own, with good and bad certificates, by the openssl command."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from kit.not_run import program

DAYS = ("-days", "30")


class Authority:
    """A root, an intermediate, and certificates for a name."""

    def __init__(self, folder: Path) -> None:
        self._binary = program("openssl")
        self.folder = folder
        for label in ("root", "other"):
            self._by_itself(label, f"/CN={label}", "keyUsage=critical,keyCertSign", "subjectKeyIdentifier=hash")
        self._signed("middle", "/CN=middle", "basicConstraints=critical,CA:TRUE", *DAYS)

    @property
    def ca_file(self) -> str:
        return str(self.folder / "root.pem")

    def server(self, *, name: str = "localhost", signer: str = "root", expired: bool = False) -> ssl.SSLContext:
        """A server's certificate. With the signer `middle` the intermediate is missing; `itself` is self-signed."""
        label = f"{name}-{signer}-{expired}"
        valid = ("-not_before", "20200101000000Z", "-not_after", "20200201000000Z") if expired else DAYS
        if signer == "itself":
            self._by_itself(label, f"/CN={name}", f"subjectAltName=DNS:{name}")
        else:
            self._signed(label, f"/CN={name}", f"subjectAltName=DNS:{name}", *valid, signer=signer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{label}.pem", self.folder / f"{label}.key")
        return context

    def _by_itself(self, label: str, subject: str, *extensions: str) -> None:
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *DAYS),
            *("-keyout", f"{label}.key", "-out", f"{label}.pem", "-subj", subject),
            *(word for extension in extensions for word in ("-addext", extension)),
        )

    def _signed(self, label: str, subject: str, extension: str, *valid: str, signer: str = "root") -> None:
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject),
            *("-keyout", f"{label}.key", "-out", f"{label}.csr", "-addext", extension),
        )
        self._openssl(
            *("x509", "-req", "-in", f"{label}.csr", "-out", f"{label}.pem", "-copy_extensions", "copyall", *valid),
            *("-CA", f"{signer}.pem", "-CAkey", f"{signer}.key"),
        )

    def _openssl(self, *arguments: str) -> None:
        subprocess.run([self._binary, *arguments], cwd=self.folder, check=True, capture_output=True)
