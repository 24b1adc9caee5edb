"""What may be shown of paths and of foreign text, in a log line or a message (contract section 9)."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final

from sidecar.core.client_id import ROOTS_WITHOUT_CLIENT_ID, is_version

# Longer than any path of the API; a log line is no place for more.
_LONGEST_PATH: Final = 256
_LONGEST_WORD: Final = 40

#: What follows these is chosen by the app or identifies a card, even if it has no digit.
BEFORE_AN_ID: Final = frozenset({"responses", "fingerprints"})


@lru_cache(maxsize=512)
def mask_path(path: str) -> str:
    """Return a path with the ClientId as ``{client}`` and every id as ``{id}``, fit for a log.

    Words of the API have letters, dashes and underscores only; ids have digits
    (``12345``, UUIDs) or the mark ``_m_`` (``user_m_01H…``). All that is no plain word counts as an id.
    """
    masked: list[str] = []
    previous = ""
    for segment in path[:_LONGEST_PATH].split("/"):
        if len(masked) == 1 and is_version(segment):
            masked.append(segment)
        elif len(masked) == 2 and is_version(previous) and segment.lower() not in ROOTS_WITHOUT_CLIENT_ID:
            masked.append("{client}" if segment else "")
        elif not segment or (is_word(segment) and previous.lower() not in BEFORE_AN_ID):
            masked.append(segment)
        else:
            masked.append("{id}")
        previous = segment or previous
    if len(path) > _LONGEST_PATH:
        masked.append("...")
    return "/".join(masked)


def is_word(segment: str) -> bool:
    """Say whether a path's segment is a word of the API, and no id."""
    letters = segment.replace("-", "").replace("_", "")
    return letters.isascii() and letters.isalpha() and len(segment) <= _LONGEST_WORD and "_m_" not in segment


# Foreign messages are cut before they are searched, so that none can keep us busy.
_LONGEST_TEXT: Final = 2000

#: Digits. A longer run is masked whatever it is: to try all of its stretches would take long, and no id is like that.
_LONGEST_NUMBER: Final = 64

_MASK: Final = "***"


def scrub(text: str) -> str:
    """Return foreign text (an exception's, a resolver's, a server's) without what must not be logged.

    Masked are credentials in URLs, query strings, Authorization and cookie values, Bearer and Basic credentials,
    assignments to names such as ``api_key`` or ``access_token``, tokens known by their prefix, card numbers, and
    longer runs of digits than any id has.
    Control characters become spaces. At most 2,000 characters are kept.
    """
    text = "".join(character if character.isprintable() else " " for character in text[:_LONGEST_TEXT])
    for pattern in _secrets():
        text = pattern.sub(_mask_value, text)
    return _digit_runs().sub(_mask_card_number, text)


def _mask_value(found: re.Match[str]) -> str:
    """Put the mask in place of a value, within its quotes if it has any; ``keep`` is what stands before it."""
    groups = found.groupdict("")
    quote = groups.get("quote", "")
    return groups.get("keep", "") + quote + _MASK + quote


@cache
def _secrets() -> tuple[re.Pattern[str], ...]:
    """Compile at first use: most processes never need it, and starting fast is a feature."""
    # A name is looked at once, from its beginning and whole: to go back in it would take the cube of its length.
    word = r"api[_-]?key|caller[_-]?key|private[_-]?key|token|secret|passw(?:or)?d|passphrase"
    name = rf"(?<![\w.-])(?=[\w.-]*?(?:{word}))[\w.-]++"
    scheme = r"(?:(?:bearer|basic)\s+)"
    quoted = r"(?P<quote>['\"]).*?(?P=quote)"
    patterns = (
        # scheme://user:password@host; a password may have been written with a slash, though it should not
        r"(?<=://)[^\s\"'<>]*(?=@)",
        # ?query, up to what cannot be a part of it
        r"(?P<keep>(?<=[^\s?])\?)[^\s\"'<>)\]]+",
        # Headers, as written in a message or in a repr, to the end of the quotes or of the text
        rf"(?P<keep>\b(?:(?:proxy-)?authorization|(?:set-)?cookie)\b['\"]?\s*[:=,]\s*(?:b(?=['\"]))?)(?:{quoted}|.+)",
        # Whichever of these stands before another is no value: "token: Bearer …", "Bearer token: …", "Bearer Bearer …".
        rf"(?P<keep>{name}['\"]?\s*[:=]\s*{scheme}*+(?:b(?=['\"]))?)(?:{quoted}|[^\s\"',;&)]+)",
        rf"(?P<keep>\b{scheme}++)[^\s\"',;]+",
        # tokens of ours, of Mangopay's embedded experiences, and JWTs
        r"(?-i:\b(?:sidecar|rec|chk)_[\w.-]{8,}|\beyJ[\w-]+\.[\w.-]+)",
    )
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


@cache
def _digit_runs() -> re.Pattern[str]:
    """Runs that are long enough for a card number, with or without single spaces or dashes between the digits."""
    return re.compile(r"\d(?:[ -]?\d){12,}")


def _mask_card_number(run: re.Match[str]) -> str:
    digits = [int(character) for character in run[0] if character.isdigit()]
    if len(digits) > _LONGEST_NUMBER:
        return _MASK
    # A number may touch others ("4970100000000154 12"), so every stretch of 13 to 19 digits is tried (ISO/IEC 7812-1).
    stretches = (digits[start : start + length] for start in range(len(digits) - 12) for length in range(13, 20))
    return _MASK if any(_passes_luhn(stretch) for stretch in stretches) else run[0]


def _passes_luhn(digits: list[int]) -> bool:
    """Check the last digit as ISO/IEC 7812-1 annex B does."""
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0
