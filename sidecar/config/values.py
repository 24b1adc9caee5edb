"""Kinds of values: how each is written, read and described.

A :class:`Kind` reads what TOML can hold. Text from a variable or a file first becomes what it would be in
TOML (:attr:`Kind.from_text`), so that both ways share one set of rules.
"""

from collections.abc import Callable
from pathlib import Path
from string import ascii_letters, digits
from typing import Final, Generic, TypeVar

import msgspec

from sidecar.config.errors import InvalidValue, nearest
from sidecar.core.mistaken_secret import mistake_in
from sidecar.core.secret import Secret

T = TypeVar("T")

MAX_DURATION: Final = 86_400.0
MAX_SIZE: Final = 1 << 40

_DURATION_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}
# IEC 80000-13: binary units have an "i", decimal ones have none.
_SIZE_UNITS: Final = {
    "": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9,
}  # fmt: skip
# Longer than any number that means something here, and short enough for int().
_MAX_DIGITS: Final = 15
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
# RFC 3986 section 2.3: these need no percent-encoding in a path and no thought in Basic credentials.
_CLIENT_ID: Final = frozenset(ascii_letters + digits + "._~-")
_TYPE_NAMES: Final[dict[type, str]] = {
    str: "a string", bool: "a boolean", int: "an integer", float: "a float", list: "an array", dict: "a table",
}  # fmt: skip


def _unchanged(text: str) -> object:
    return text


class Kind(msgspec.Struct, Generic[T], frozen=True):
    """A kind of value."""

    #: What is wanted, as a noun phrase: ends every message about a value of this kind.
    expected: str
    #: From what TOML holds to the value; raises InvalidValue.
    parse: Callable[[object], T]
    #: From text to what TOML would hold; raises InvalidValue.
    from_text: Callable[[str], object] = _unchanged
    #: Written as a plain string, so ``<key>_file`` can give it too.
    is_string: bool = False
    #: Holds something that must not be seen.
    is_secret: bool = False


def type_name(value: object) -> str:
    """Name the TOML type of ``value``, with its article."""
    return _TYPE_NAMES.get(type(value), "a date or time")


def wrong_type(value: object) -> InvalidValue:
    """Say that ``value`` is of another TOML type than wanted."""
    return InvalidValue(f"is {type_name(value)}")


def checked_text(value: object) -> str:
    """Return ``value`` if it is a string of printable characters without whitespace around it."""
    if not isinstance(value, str):
        raise wrong_type(value)
    if not value:
        raise InvalidValue("is empty")
    if value != value.strip():
        raise InvalidValue("has whitespace around it")
    if not value.isprintable():
        raise InvalidValue("has a control character or an invisible one")
    return value


# --- strings -------------------------------------------------------------------------------------------


def _parse_path(value: object) -> Path:
    text = checked_text(value)
    if text.startswith("~"):
        raise InvalidValue("begins with ~, which only a shell expands")
    return Path(text)


PATH: Final = Kind("the path of a file", _parse_path, is_string=True)


def choice(*names: str) -> Kind[str]:
    """One of a few names."""

    def parse(value: object) -> str:
        text = checked_text(value)
        if text not in names:
            complaint = f"is none of the known names (the nearest is {nearest(text.lower(), names)})"
            raise InvalidValue(complaint)
        return text

    return Kind(f"one of {', '.join(names)}", parse, is_string=True)


def _checked_secret(value: object) -> str:
    """Return :func:`checked_text` of ``value``, unless it is plainly something else."""
    text = checked_text(value)
    if mistake := mistake_in(text):
        raise InvalidValue(mistake)
    return text


def _parse_client_id(value: object) -> str:
    text = _checked_secret(value)
    if not _CLIENT_ID.issuperset(text) or len(text) > 100:
        raise InvalidValue("has a character that no ClientId has, or is too long")
    if text in (".", ".."):
        raise InvalidValue("is a dot segment")
    return text


CLIENT_ID: Final = Kind("the ClientId: letters, digits and . _ - ~", _parse_client_id, is_string=True)


def secret(expected: str, *, minimum: int = 1, spaces: bool = False, ascii_only: bool = True) -> Kind[Secret]:
    """A key or password of at least ``minimum`` characters; ``spaces`` may stand within it or not."""

    def parse(value: object) -> Secret:
        text = _checked_secret(value)
        if ascii_only and not text.isascii():
            raise InvalidValue("has a character that is not ASCII")
        if not spaces and " " in text:
            raise InvalidValue("has a space in it")
        if len(text) < minimum:
            raise InvalidValue("is too short")
        return Secret(text)

    return Kind(expected, parse, is_string=True, is_secret=True)


# --- numbers -------------------------------------------------------------------------------------------


def _is_whole_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def _number_from_text(text: str) -> object:
    checked_text(text)
    if not _is_whole_number(text):
        raise InvalidValue("is not a whole number")
    return int(text)


def _parse_integer(value: object, minimum: int, maximum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(value)
    if not minimum <= value <= maximum:
        raise InvalidValue("is out of range")
    return value


def integer(minimum: int, maximum: int) -> Kind[int]:
    """A whole number within bounds, both included."""
    return Kind(
        f"a whole number from {minimum} to {maximum}",
        lambda value: _parse_integer(value, minimum, maximum),
        _number_from_text,
    )


def _port_from_text(text: str) -> object:
    return text if text == "off" else _number_from_text(text)


def _parse_port(value: object) -> int | None:
    return None if value == "off" else _parse_integer(value, 0, 65535)


PORT: Final = Kind('a number from 0 to 65535 (0: any free port), or "off"', _parse_port, _port_from_text)


def _boolean_from_text(text: str) -> object:
    try:
        return _BOOLEANS[text]
    except KeyError:
        raise InvalidValue("is not a boolean") from None


def _parse_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(value)
    return value


BOOLEAN: Final = Kind("true or false (a variable may say 1 or 0)", _parse_boolean, _boolean_from_text)


def _parse_mode(value: object) -> int:
    text = checked_text(value)
    # 0777 at most: set-user-id and sticky bits mean nothing on a socket.
    if len(text) not in (3, 4) or not set("01234567").issuperset(text) or int(text, 8) > 0o777:
        raise InvalidValue("is no file mode")
    return int(text, 8)


# Not an integer: TOML cannot tell 0o600 from 384, and 600 meant as octal would be taken for 0o1130.
MODE: Final = Kind('three octal digits in quotes, such as "0600"', _parse_mode)


def duration(minimum: float) -> Kind[float]:
    """Seconds, as a number or as text with a unit: ``"500ms"``, ``"5s"``, ``"10m"``, ``"1h"``."""

    def parse(value: object) -> float:
        seconds = read_duration(value)
        if not minimum <= seconds <= MAX_DURATION:  # also true of NaN
            raise InvalidValue("is out of range")
        return float(seconds)

    low = "0s" if minimum == 0 else f"{minimum * 1000:g}ms"
    return Kind(
        f'a duration from {low} to {MAX_DURATION / 3600:g}h: seconds, or text such as "500ms", "5s", "10m"', parse
    )


def read_duration(value: object) -> float:
    """Return the seconds that ``value`` stands for; any number passes, bounds are the caller's."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    number, unit = _split(checked_text(value))
    whole, point, fraction = number.partition(".")
    if not _is_whole_number(whole) or (point and not _is_whole_number(fraction)):
        raise InvalidValue("is no duration")
    if unit == "ms":
        return float(number) / 1000
    if unit not in _DURATION_UNITS:
        raise InvalidValue("has a unit that no duration has")
    return float(number) * _DURATION_UNITS[unit]


def size(minimum: int = 0) -> Kind[int]:
    """Bytes, as a whole number or as text with a unit: ``"16MiB"`` (1024), ``"10MB"`` (1000)."""

    def parse(value: object) -> int:
        count = read_size(value) if isinstance(value, str) else value
        return _parse_integer(count, minimum, MAX_SIZE)

    return Kind(f'a size from {minimum} byte(s) to 1 TiB: bytes, or text such as "64KiB", "16MiB", "10MB"', parse)


def read_size(text: str) -> int:
    """Return the bytes that ``text`` stands for."""
    number, unit = _split(checked_text(text))
    if not _is_whole_number(number):
        raise InvalidValue("is no size")
    if unit not in _SIZE_UNITS:
        raise InvalidValue("has a unit that no size has")
    return int(number) * _SIZE_UNITS[unit]


def _split(text: str) -> tuple[str, str]:
    """Split ``text`` where its number ends and its unit begins."""
    unit = text.lstrip("0123456789.")
    return text.removesuffix(unit), unit


def _read_share(value: object) -> float:
    """Return what text such as ``"12.5%"`` stands for, as a part of 1; it may be more than the whole."""
    text = checked_text(value)
    whole, point, fraction = text.removesuffix("%").partition(".")
    if not text.endswith("%") or not _is_whole_number(whole) or (point and not _is_whole_number(fraction)):
        raise InvalidValue("is no share in percent")
    return float(text.removesuffix("%")) / 100


def _parse_share(value: object) -> float:
    if (share := _read_share(value)) >= 1.0:
        raise InvalidValue("is out of range")
    return share


def _parse_sample(value: object) -> float:
    if (share := _read_share(value)) > 1.0:
        raise InvalidValue("is out of range")
    return share


# Not numbers: 20 and 0.2 could both be meant.
SHARE: Final = Kind('a share below 100%, in quotes, such as "20%"', _parse_share)
#: Unlike a share, it may be 100%.
SAMPLE: Final = Kind('a share from 0% to 100%, in quotes, such as "10%"', _parse_sample)


# --- lists ---------------------------------------------------------------------------------------------


def items(item: Kind[T], *, minimum: int = 0, or_one: bool = False) -> Kind[tuple[T, ...]]:
    """An array of ``item``; comma-separated in text. With ``or_one`` TOML may give one bare string."""

    def parse(value: object) -> tuple[T, ...]:
        if or_one and isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            raise wrong_type(value)
        if len(value) < minimum:
            raise InvalidValue("is an empty array")
        return tuple(_parse_item(item, number, entry) for number, entry in enumerate(value, 1))

    def from_text(text: str) -> object:
        return [_item_from_text(item, number, entry.strip()) for number, entry in enumerate(text.split(","), 1)]

    return Kind(f"an array (in a variable: comma-separated) of: {item.expected}", parse, from_text)


def _unfit_entry(number: int, unfit: InvalidValue) -> InvalidValue:
    return InvalidValue(f"has an entry (number {number}) that {unfit}")


def _parse_item(item: Kind[T], number: int, entry: object) -> T:
    try:
        return item.parse(entry)
    except InvalidValue as unfit:
        raise _unfit_entry(number, unfit) from None


def _item_from_text(item: Kind[T], number: int, entry: str) -> object:
    try:
        return item.from_text(entry)
    except InvalidValue as unfit:
        raise _unfit_entry(number, unfit) from None
