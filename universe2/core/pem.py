"""Certificates and keys in PEM files, tried as they are read: gRPC would not say what is wrong."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from universe2.core.errors import UsageError
from universe2.core.files import read_bytes


def read_ca(path: str | Path, what: str) -> bytes:
    """The certificates of those who sign others' in ``path``, which is ``what``. Raises UsageError."""
    content = _read(path, what, "CERTIFICATE")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, OSError):  # whose own words are no more than "PEM lib"
        raise UsageError(
            f"the {what} {path} has a certificate in it that can't be read: is the file damaged, or cut?"
        ) from None
    return content


def read_identity(key: str | Path, certificate: str | Path) -> tuple[bytes, bytes]:
    """A private key and its certificate. Raises UsageError if either is none, or another one's."""
    contents = _read(key, "TLS key", "PRIVATE KEY"), _read(certificate, "TLS certificate", "CERTIFICATE")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise UsageError(
            f"the TLS key {key} doesn't open the TLS certificate {certificate} ({reason}): "
            "is it another one's, broken, or encrypted?"
        ) from None
    return contents


def _read(path: str | Path, what: str, label: str) -> bytes:
    content = read_bytes(Path(path), what)
    if not re.search(rb"-----BEGIN [A-Z ]*" + label.encode(), content):
        raise UsageError(f"the {what} {path} is not PEM: it has no line -----BEGIN {label}-----")
    return content
