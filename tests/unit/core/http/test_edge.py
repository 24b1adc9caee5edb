"""Pages of the edge told from responses of the API, and what may be shown of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.edge import is_html_type, is_page, read_cf_ray

# As Cloudflare begins its block pages.
CLOUDFLARE = b"""<!DOCTYPE html>
<!--[if lt IE 7]> <html class="no-js ie6 oldie" lang="en-US"> <![endif]-->
<html class="no-js" lang="en-US"><head><title>Attention Required! | Cloudflare</title></head></html>"""
NGINX = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center>"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html; charset=UTF-8", CLOUDFLARE),
        ("", CLOUDFLARE),
        ("application/json", CLOUDFLARE),
        ("", NGINX),
        ("", b"\xef\xbb\xbf\r\n  <!doctype HTML>"),
        ("", b"<HTML\tlang=en>"),
        ("", b"<!-- a comment -->"),
        ("Text/HTML", b"error code: 1020"),
        ("text/plain; charset=UTF-8", b"error code: 1020"),
        ("", b"error code: 502\r\n"),
        ("text/html", b"<p>busy</p>"),
        ("application/xhtml+xml", b"<?xml version='1.0'?>"),
        ("", b"<?xml version='1.0'?><!DOCTYPE html PUBLIC>"),
        ("text/plain", b"\xef\xbb\xbf<?xml version='1.0'?>\r\n<!-- a\n --><!-- b -->\n<html xmlns='x'>"),
        ("", b"<?xml version='1.0'?><!--" + b"x" * 600 + b"--><!doctype html>"),
        ("", b" " * 600 + CLOUDFLARE),
        ("", b"\n" * 600 + b"\xef\xbb\xbf" + b"\n" * 600 + b"error code: 1020"),
    ],
)
def test_a_page_is_told_by_its_type_or_by_its_look(content_type: str, body: bytes) -> None:
    assert is_page(content_type, body)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b""),
        ("text/html", b""),
        ("text/html", b" \r\n"),
        ("text/html", b'{"error": "invalid_client"}'),
        ("text/html", b'\xef\xbb\xbf {"error": "invalid_client"}'),
        ("text/html", b"[]"),
        ("application/json", b'{"error": "<html>"}'),
        ("text/plain", b"error code: 1020, and more"),
        ("text/plain", b"an error code: 1020"),
        ("text/plain", b"error code: " + b"1" * 600),
        ("", b"<?xml version='1.0'?><Error/>"),
        ("", b"<?xml version='1.0'?><!-- no <html> --><Error/>"),
        ("", b"<?xml version='1.0'?><!-- <!DOCTYPE html>"),
        ("", b"<?xmlish?><html>"),
        ("", b" " * 600 + b"<?xml version='1.0'?><title/>"),
        ("", b"<htmlish>"),
        ("", b"a <html>"),
    ],
)
def test_nothing_else_is_a_page(content_type: str, body: bytes) -> None:
    """Nor is an error of Mangopay's that a gateway labels as HTML: a wrong key has to latch."""
    assert not is_page(content_type, body)


def test_the_type_is_compared_without_case_and_parameters() -> None:
    assert is_html_type("Text/HTML ; charset=utf-8")
    assert not is_html_type("text/plain; text/html")


@pytest.mark.parametrize("value", ["8f3c2a1b4d5e6f70-CDG", "8F3C2A1B4D5E6F70", " 8f3c2a1b4d5e6f70-ams "])
def test_a_ray_id_is_read(value: str) -> None:
    assert read_cf_ray(value) == value.strip()


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "8f3c2a1b4d5e6f7",
        "8f3c2a1b4d5e6f70-",
        "8f3c2a1b4d5e6f70-CDG, 8f3c2a1b4d5e6f70-CDG",
        "8f3c2a1b4d5e6f70-\x1b[31m",
        "zf3c2a1b4d5e6f70-CDG",
        "8f3c2a1b4d5e6f70" * 1000,
        "٣f3c2a1b4d5e6f70",
    ],
)
def test_what_does_not_look_like_a_ray_id_is_not_shown(value: str | None) -> None:
    assert read_cf_ray(value) is None


@given(st.text(), st.binary(max_size=600))
def test_no_response_raises(content_type: str, body: bytes) -> None:
    is_page(content_type, body)
    ray = read_cf_ray(content_type)
    assert ray is None or (ray.isascii() and ray.isprintable() and len(ray) <= 21)
