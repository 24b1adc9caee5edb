"""Chunked request bodies: decoded or refused, never copied through.

Sources: RFC 9112 section 7.1 and 7.1.1; the bug list of narfindustries/http-garden (server bugs 1, 17, 22, 25, 31, 39
and 47, transducer bugs 3, 13, 17 and 19); J. Weikop, "Funky chunks" (2025: line ends in extensions); llhttp's
``transfer-encoding.md``; nginx's ``body_chunked.t``; CVE-2023-30589 (llhttp, CR alone), CVE-2023-40175 (Puma,
trailers), CVE-2023-47627 and CVE-2025-53643 (aiohttp, sizes by ``int()``; trailers not read).
"""

from __future__ import annotations

from typing import Final

from sidecar.core.errors import ErrorCode
from tests.wire.threats.case import (
    PAY,
    REFUSED,
    SMUGGLED,
    Case,
    Outcome,
    chunked,
    each,
    forwarded,
    group,
    refused,
    row,
    up,
)

_LINE: Final = b"POST " + PAY + b" HTTP/1.1"
_END: Final = b"0\r\n\r\n"


def _decoded(body: bytes) -> Outcome:
    """The body reaches upstream with a length of our own. The connection ends: see ``downstream/request_reader.py``."""
    return forwarded(up(_LINE, body=body), closes=True)


def _size(size: bytes) -> bytes:
    return chunked(size + b"\r\nabc\r\n" + _END)


SIZES: Final = group(
    "chunk sizes",
    each(
        {
            "chunk-size-0x": b"0x3",
            "chunk-size-0X": b"0X3",
            "chunk-size-zero-underscore": b"0_3",
            "chunk-size-underscore": b"3_",
            "chunk-size-plus": b"+3",
            "chunk-size-minus": b"-3",
            "chunk-size-minus-zero": b"-0",
            "chunk-size-space-before": b" 3",
            "chunk-size-tab-before": b"\t3",
            "chunk-size-space-behind": b"3 ",
            "chunk-size-tab-behind": b"3\t",
            "chunk-size-space-then-extension": b"3 ;a=b",
            "chunk-size-vertical-tab-behind": b"3\x0b",
            "chunk-size-nul-behind": b"3\x00",
            "chunk-size-nul-before": b"\x003",
            "chunk-size-no-hexadecimal": b"g",
            "chunk-size-longest-prefix": b"3xyz",
            "chunk-size-decimal-point": b"3.0",
            "chunk-size-comma": b"3,3",
            "chunk-size-quoted": b'"3"',
            "chunk-size-empty": b"",
            "chunk-size-extension-alone": b";a=b",
            "chunk-size-arabic-digit": "٣".encode(),
            "chunk-size-fullwidth-digit": "３".encode(),
            "chunk-size-beyond-64-bits": b"10000000000000003",
            "chunk-size-too-large-for-the-body": b"fffffff0000000000",
        },
        _size,
        REFUSED,
    ),
    row("chunk-size-upper-case", chunked(b"A\r\n0123456789\r\n" + _END), _decoded(b"0123456789")),
    row("chunk-size-leading-zeros", _size(b"0003"), _decoded(b"abc")),
    row("chunk-size-a-request", chunked(SMUGGLED), REFUSED),
    row("chunk-sizes-never-valid", chunked(b"Z\r\nZZ\r\nZZZ\r\n\r\n"), REFUSED),
)

LINE_ENDS: Final = group(
    "line ends of chunks",
    each(
        {
            "chunk-line-bare-lf": b"3\nabc\r\n" + _END,
            "chunk-line-bare-cr": b"3\rabc\r\n" + _END,
            "chunk-line-cr-cr-lf": b"3\r\r\nabc\r\n" + _END,
            "chunk-line-cr-cr-extension": b"3\r\r;abcd\r\n" + _END,
            "chunk-data-bare-lf": b"3\r\nabc\n" + _END,
            "chunk-data-bare-cr": b"3\r\nabc\r" + _END,
            "chunk-data-two-other-bytes": b"3\r\nabcXX" + _END,
            "chunk-data-no-end": b"3\r\nabc" + _END,
            "chunk-data-longer": b"2\r\nabc\r\n" + _END,
            "chunk-data-shorter": b"4\r\nabc\r\n" + _END,
            "chunk-data-empty-line-more": b"3\r\nabc\r\n\r\n" + _END,
            "chunk-all-bare-lf": b"3\nabc\n0\n\n",
            "last-chunk-bare-lf": b"3\r\nabc\r\n0\n\r\n",
            "last-chunk-bare-lf-twice": b"3\r\nabc\r\n0\n\n",
            "last-chunk-lf-at-the-end": b"3\r\nabc\r\n0\r\n\n",
            "last-chunk-bare-cr": b"3\r\nabc\r\n0\r\r\n\r\n",
        },
        chunked,
        REFUSED,
    ),
    row("chunks-two", chunked(b"3\r\nabc\r\n2\r\nde\r\n" + _END), _decoded(b"abcde")),
    row("chunks-none", chunked(_END), _decoded(b"")),
    row("last-chunk-many-zeros", chunked(b"3\r\nabc\r\n0000\r\n\r\n"), _decoded(b"abc")),
)

EXTENSIONS: Final = group(
    "chunk extensions",
    row("extension-name", _size(b"3;a"), _decoded(b"abc")),
    row("extension-value", _size(b"3;a=b"), _decoded(b"abc")),
    row("extension-quoted", _size(b'3;a="b;c"'), _decoded(b"abc")),
    row("extension-on-the-last-chunk", chunked(b"3\r\nabc\r\n0;a=b\r\n\r\n"), _decoded(b"abc")),
    each(
        {
            "extension-bare-lf": b"3;\nabc\r\n" + _END,
            "extension-bare-lf-in-value": b"3;a=b\nabc\r\n" + _END,
            "extension-bare-cr": b"3;a\rb\r\nabc\r\n" + _END,
            "extension-cr-cr-lf": b"3;a=b\r\r\nabc\r\n" + _END,
            "extension-cr-in-quotes": b'3;a="\r\n"\r\nabc\r\n' + _END,
            "extension-nul": b"3;a\x00\r\nabc\r\n" + _END,
            "extension-of-64-kib": b"3;" + b"e" * 65_536 + b"\r\nabc\r\n" + _END,
            "extension-on-every-byte": (b"1;" + b"e" * 100 + b"\r\nx\r\n") * 2_000 + _END,
        },
        chunked,
        REFUSED,
    ),
)

TRAILERS: Final = group(
    "trailers",
    row("trailer-dropped", chunked(b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n"), _decoded(b"abc")),
    row("trailer-host", chunked(b"3\r\nabc\r\n0\r\nHost: evil.example\r\n\r\n"), _decoded(b"abc")),
    # The parser refuses this one by itself.
    row("trailer-length", chunked(b"3\r\nabc\r\n0\r\nContent-Length: 50\r\n\r\n"), REFUSED),
    row("trailer-authorization", chunked(b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\n\r\n"), _decoded(b"abc")),
    row(
        "trailer-idempotency-key",
        chunked(b"3\r\nabc\r\n0\r\nIdempotency-Key: 0123456789abcdef\r\n\r\n"),
        _decoded(b"abc"),
    ),
    row(
        "trailer-looks-like-a-request", chunked(b"3\r\nabc\r\n0\r\nX:POST /smuggled HTTP/1.1\r\n\r\n"), _decoded(b"abc")
    ),
    row("trailer-then-request", chunked(b"3\r\nabc\r\n0\r\nX-Sidecar-Trick: 1\r\n\r\n" + SMUGGLED), _decoded(b"abc")),
    row("request-behind-chunks", chunked(b"3\r\nabc\r\n" + _END + SMUGGLED), _decoded(b"abc")),
    row("garbage-behind-chunks", chunked(b"3\r\nabc\r\n" + _END + b"\x00\x01\x02"), REFUSED),
    row("declared-trailer-dropped", chunked(b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n", b"Trailer: X-T"), _decoded(b"abc")),
    each(
        {
            "trailer-folded": b"3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n",
            "trailer-without-colon": b"3\r\nabc\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
            "trailer-space-before-colon": b"3\r\nabc\r\n0\r\nX : a\r\n\r\n",
            "trailer-nul": b"3\r\nabc\r\n0\r\nX: \x00\r\n\r\n",
            "trailer-bare-lf": b"3\r\nabc\r\n0\r\nX: a\n\r\n",
            "trailer-empty-name": b"3\r\nabc\r\n0\r\n: a\r\n\r\n",
        },
        chunked,
        REFUSED,
    ),
    row(
        "trailers-without-end",
        chunked(b"3\r\nabc\r\n0\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(10_000))),
        refused(ErrorCode.HEADERS_TOO_LARGE, closes=True),
    ),
)

CASES: Final[tuple[Case, ...]] = (*SIZES, *LINE_ENDS, *EXTENSIONS, *TRAILERS)
