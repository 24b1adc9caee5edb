"""The GETs that the sidecar makes for itself."""

from __future__ import annotations

from sidecar.core.endpoint import Endpoint
from sidecar.proxy.own_get import own_get


def test_it_asks_for_json_below_the_prefix_of_the_base_url() -> None:
    head = own_get(Endpoint.parse("https://api.example.com:8443/sandbox"), "/v2.01/acme/hooks?page=2").render("token")
    assert head == (
        b"GET /sandbox/v2.01/acme/hooks?page=2 HTTP/1.1\r\n"
        b"Host: api.example.com:8443\r\n"
        b"Accept: application/json\r\n"
        b"Authorization: Bearer token\r\n\r\n"
    )
