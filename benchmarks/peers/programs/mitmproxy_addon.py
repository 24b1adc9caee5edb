"""The addon that makes mitmproxy an authenticating proxy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow

AUTHORIZATION = f"Bearer {os.environ['BENCH_TOKEN']}"


def request(flow: HTTPFlow) -> None:
    """Put the header on a request."""
    flow.request.headers["Authorization"] = AUTHORIZATION
