"""Origin: what a page gets for the addresses that it asks for, and no other page may ask.

A page's folder and a site's answers come from here, without a network; a server that runs already is
let through to; anything else is refused and noted. A document that doesn't come is a fault.
What pages do with it is not known here.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from universe2.core.host import InfrastructureFault
from universe2.envs.web.page import WebPage, origin_of
from universe2.envs.web.site import Request, Site
from universe2.runtimes.browser_document import file

INVENTED = "http://task.test/"
"""Where a page believes it comes from. No such host is ever asked: what is here answers."""
_HOST = base64.b64encode(b'<!DOCTYPE html><body style="margin: 0">').decode()
"""the document around the frame that an ``in_frame`` page is written into"""

_MOST, _LONGEST = 10, 350
"""so many different texts of a kind are told of an episode, and so many characters of each"""

Send = Callable[..., "asyncio.Future[dict[str, Any]]"]
"""``send(method, **params)``: a command to the page's session"""


def tell(told: list[str], text: str) -> None:
    """Add to what is told of an episode: each text once, not many and none long."""
    text = text[:_LONGEST]
    if len(told) < _MOST and text not in told:
        told.append(text)


class Origin:
    """Where one page and its documents come from. ``target``: the page's id in its browser."""

    def __init__(self, page: WebPage, target: str, send: Send) -> None:
        if page.url:
            self.url, self.address = origin_of(page.url), page.url
        else:
            self.url, self.address = INVENTED, INVENTED + page.path
        self.refused: list[str] = []
        """addresses that were asked for and not given"""
        self.turned = False
        """whether a document was asked for; set back by who draws frames"""
        self.document: asyncio.Future[dict[str, Any]] | None = None
        """comes when the first document of an episode is there; fails if that can't be had"""
        self.site: Site | None = None
        """of this episode"""
        self._site_error: Exception | None = None
        self._missed = ""
        """why a document of a server that runs already did not come"""
        self._page, self._target, self._send = page, target, send

    def begin(self, seed: int) -> None:
        """An episode begins."""
        self._site_error, self._missed = None, ""
        self.site = self._page.site(seed) if self._page.site is not None else None

    def check(self) -> None:
        """Raise what the site did, and InfrastructureFault for a document that did not come."""
        if self._site_error is not None:
            raise self._site_error
        if self._missed:
            raise InfrastructureFault(self._missed)

    def miss(self, url: str, why: str) -> None:
        """A document did not come: a fault, or Chromium's own error page would be played on."""
        self._missed = self._missed or f"{url} can't be opened: {why}"
        if self.document is not None and not self.document.done():
            self.document.set_exception(InfrastructureFault(self._missed))

    def serve(self, event: dict[str, Any]) -> None:
        """Answer a request of the page (the event Fetch.requestPaused)."""
        url, request, document = (
            event["request"]["url"],
            event["requestId"],
            event["resourceType"] == "Document",
        )
        cache = "max-age=31536000, immutable"
        self.turned = self.turned or document
        if not url.startswith(self.url):
            tell(self.refused, url)
            # An aborted navigation leaves the page where it is; a blocked one shows an error page.
            reason = "Aborted" if document else "BlockedByClient"
            self._send("Fetch.failRequest", requestId=request, errorReason=reason)
            return
        if self._page.url:
            self._pass_on(event)
            return
        if self.site is not None:
            status, kind, body = self._respond(event["request"])
            cache = "no-store"
        elif self._page.in_frame and document:
            status, kind, body = 200, "text/html", _HOST
        else:
            assert self._page.root is not None
            status, kind, body = file(self._page.root, unquote(urlsplit(url).path).lstrip("/"))
        self._send(
            "Fetch.fulfillRequest",
            requestId=request,
            responseCode=status,
            responseHeaders=[
                {"name": "Content-Type", "value": kind},
                {"name": "Cache-Control", "value": cache},
            ],
            body=body,
        )

    def _pass_on(self, event: dict[str, Any]) -> None:
        """Let a request through to the server, and look at the answer if it is for a document."""
        document = event["resourceType"] == "Document" and event["frameId"] == self._target
        failed, status = event.get("responseErrorReason", ""), event.get("responseStatusCode", 0)
        first = self.document is not None and not self.document.done()
        if document and failed and failed != "Aborted":  # which is what a later click does to an earlier one
            self.miss(event["request"]["url"], f"{failed}; is its server running?")
        if document and status >= 400 and first:
            self.miss(event["request"]["url"], f"it was answered with status {status}")
        more = {"interceptResponse": True} if document and not failed and not status else {}
        self._send("Fetch.continueRequest", requestId=event["requestId"], **more)

    def _respond(self, request: dict[str, Any]) -> tuple[int, str, str]:
        """The site's answer. What it raises is raised when the outcome is read."""
        assert self.site is not None
        try:
            asked = Request.of(request["method"], request["url"], request.get("postData", ""))
            status, html = self.site.respond(asked)
            body = html.encode()
        except Exception as error:  # noqa: BLE001 (kept for the step that caused it)
            self._site_error = error
            status, body = 500, b"<p>The site failed.</p>"
        return status, "text/html; charset=utf-8", base64.b64encode(body).decode()
