"""Upgrades: wishes to go on in another protocol than HTTP/1.1, which are not heard (RFC 9110, 7.8), and the requests that
come with them, which are.

Some clients offer HTTP/2 with every request, even with one that has a body (Java's; curl --http2). The parser takes the
server's consent for granted: for it such a request has no body, and what comes next is not its business.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class DecliningParser(httptools.HttpRequestParser):
    """uvicorn's parser, which tells its protocol of a request with a wish twice: with it, and then without. The first time
    is_declined() holds, and it is to be passed over.
    """

    def __init__(self, protocol: HttpToolsProtocol, *, most_headers: int) -> None:
        """With more headers the protocol does not keep all; without those that say where the body ends nobody can go on."""
        self._protocol = protocol
        self._most_headers = most_headers
        self._start()

    def feed_data(self, data: bytes | bytearray | memoryview) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """httptools' method."""
        rest = memoryview(data)
        while True:
            try:
                super().feed_data(rest)
            except httptools.HttpParserUpgrade as wish:
                if not is_declined(self):
                    raise
                if len(self._protocol.headers) > self._most_headers:
                    raise httptools.HttpParserError("too many headers") from None
                rest = rest[wish.args[0] :]
            else:
                return
            head = self._plain_head()
            self._start()
            super().feed_data(head)

    def _start(self) -> None:
        super().__init__(self._protocol)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it

    def _plain_head(self) -> bytes:
        """The head of the request that was just read, without its wish."""
        version = self.get_http_version().encode()
        lines = [self.get_method() + b" " + self._protocol.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self._protocol.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])


def is_declined(parser: httptools.HttpRequestParser) -> bool:
    """Whether the request that is being read is one that will be told of again. CONNECT, which has no body, is none."""
    return parser.should_upgrade() and parser.get_method() != b"CONNECT"
