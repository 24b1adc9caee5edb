"""One line of a call's timeline."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

#: The call itself, or reading its lost response back.
Purpose: TypeAlias = Literal["call", "read_back"]


class Attempt(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One attempt of a call to get a response from Mangopay. Times are seconds.

    ``result`` is the status that Mangopay answered; else why there was none:
    a word of ``FailureKind``, the ``ErrorCode`` if there was no token, ``cut``
    if the call was stopped.
    """

    #: When it began, after the call's head was there.
    at: float
    #: How long it waited for a connection, then for a token, then for Mangopay: from the request's first byte to the
    #: head of the response.
    connection: float
    token: float
    upstream: float
    result: int | str
    purpose: Purpose = "call"
    #: That of the token which the request carried; 0: there was none to write it with.
    generation: int = 0
