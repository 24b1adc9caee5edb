"""The list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers.envoy import Envoy
from benchmarks.peers.fastapi import FastApi
from benchmarks.peers.haproxy import HAProxy
from benchmarks.peers.mitmproxy import Mitmproxy
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.node import Node

if TYPE_CHECKING:
    from benchmarks.peers.site import Peer


def others() -> list[Peer]:
    """Return every peer but the sidecar."""
    return [Nginx(), HAProxy(), Envoy(), Node(), FastApi(), Mitmproxy()]
