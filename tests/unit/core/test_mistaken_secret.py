"""What is refused where a secret belongs, and what is not."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.mistaken_secret import mistake_in

KEY = "h8Gh2kLq0ZpXw4"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'"{KEY}"', "quotes"),
        (f"'{KEY}'", "quotes"),
        ("${MANGOPAY_API_KEY}", "variable"),
        ("prefix-${KEY:-}-suffix", "variable"),
        ("$(pass show mangopay)", "variable"),
        ("$MANGOPAY_API_KEY", "variable"),
        ("{{ mangopay_api_key }}", "placeholder"),
        ("{{.Values.key}}", "placeholder"),
        ("<your-api-key>", "placeholder"),
        ('{"api_key":"main"}', "JSON"),
        ('["main"]', "JSON"),
        (f"MANGOPAY_API_KEY={KEY}", "NAME=value"),
        (f"export MANGOPAY_API_KEY={KEY}", "NAME=value"),
        (f"api_key = {KEY}", "NAME=value"),
        (f"apikey={KEY}", "NAME=value"),
        (f"Password={KEY}", "NAME=value"),
        ("-----BEGIN PRIVATE KEY-----\nMIIB", "PEM"),
        ("%MANGOPAY_API_KEY%", "variable"),
        ("/run/secrets/mangopay_api_key", "path"),
        ("/etc/mangopay.key", "path"),
        ("./api.key", "path"),
        ("../secrets/api.key", "path"),
        ("~/mangopay.key", "path"),
        ("op://payments/mangopay/key", "reference"),
        ("vault://secret/mangopay#key", "reference"),
        ("https://vault.internal/v1/secret", "reference"),
        ("arn:aws:secretsmanager:eu-west-1:1:secret:mangopay", "reference"),
    ],
)
def test_what_is_plainly_something_else_is_named(text: str, words: str) -> None:
    complaint = mistake_in(text)
    assert complaint is not None
    assert words in complaint
    assert KEY not in complaint


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        "cGFzc3dvcmQ=",
        "a_b==",
        "QUJDRA==",
        "it's",
        '"',
        "'half",
        "cost$5",
        "$5",
        "{open",
        "<open",
        "a<b>c",
        "p=q",
        "x{}y",
        "correct horse battery staple",
        "/V7c+fQ2/7n0aQ==",
        "100%",
        "%5",
        "a:b",
        "arn",
    ],
)
def test_what_may_be_a_secret_passes(text: str) -> None:
    assert mistake_in(text) is None


@given(st.text(string.ascii_letters + string.digits + "-._~", min_size=1))
def test_no_key_of_mangopays_is_refused(key: str) -> None:
    assert mistake_in(key) is None
