"""TLS as a client's address asks for it: its files, read and checked before anybody is called."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import grpc

from universe2.core.errors import UsageError
from universe2.core.files import check_keys
from universe2.core.pem import read_ca, read_identity


def tls_of(address: str) -> tuple[grpc.ChannelCredentials, str]:
    """What ``tls://host:port?…`` asks for, and the name in the server's certificate: empty if it is the host.

    Raises UsageError for files that gRPC couldn't use: it would say no more than "empty address list".
    """
    files = dict(parse_qsl(urlsplit(address).query))
    check_keys(files, ("ca", "cert", "key", "name"), address)
    if ("cert" in files) != ("key" in files):
        raise UsageError(f"{address}: cert and key go together")
    ca = read_ca(files["ca"], "TLS ca") if "ca" in files else None
    key, certificate = read_identity(files["key"], files["cert"]) if "key" in files else (None, None)
    return grpc.ssl_channel_credentials(ca, key, certificate), files.get("name", "")
