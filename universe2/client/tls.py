"""TLS as a client's address asks for it: its files, read and checked before anybody is called."""

from __future__ import annotations

import ssl
from urllib.parse import parse_qsl, urlsplit

import grpc

from universe2.core.errors import UsageError
from universe2.core.files import check_keys, read_pem

_LABELS = {"ca": "CERTIFICATE", "key": "PRIVATE KEY", "cert": "CERTIFICATE"}


def tls_of(address: str) -> tuple[grpc.ChannelCredentials, str]:
    """What ``tls://host:port?…`` asks for, and the name in the server's certificate: empty if it is the host.

    Raises UsageError for files that gRPC couldn't use: it would say no more than "empty address list".
    """
    files = dict(parse_qsl(urlsplit(address).query))
    check_keys(files, ("ca", "cert", "key", "name"), address)
    if ("cert" in files) != ("key" in files):
        raise UsageError(f"{address}: cert and key go together")
    contents = [
        read_pem(files[name], f"TLS {name}", label) if name in files else None
        for name, label in _LABELS.items()
    ]
    _check(files)
    return grpc.ssl_channel_credentials(*contents), files.get("name", "")


def _check(files: dict[str, str]) -> None:
    """Raise UsageError unless the files hold what they should, and the key is the certificate's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if "ca" in files:
        try:
            context.load_verify_locations(files["ca"])
        except (ssl.SSLError, OSError) as error:
            raise UsageError(
                f"the TLS ca {files['ca']} can't be used ({_reason(error)}): is it broken, or cut off?"
            ) from None
    if "cert" in files:
        try:
            context.load_cert_chain(files["cert"], files["key"], password="")
        except (ssl.SSLError, OSError) as error:
            raise UsageError(
                f"the TLS key {files['key']} doesn't open the TLS cert {files['cert']} ({_reason(error)}): "
                "is it another one's, broken, or encrypted?"
            ) from None


def _reason(error: OSError) -> object:
    return getattr(error, "reason", None) or error
