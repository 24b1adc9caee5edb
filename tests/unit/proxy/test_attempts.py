"""How an error of the sidecar's own is told once a delivery has been answered with 401, or once a part of one is out."""

from __future__ import annotations

from typing import Final

import pytest

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.proxy.attempts import _delivered, _rejected

LOCKED_OUT: Final = SidecarError(
    ErrorCode.TOKEN_LOCKED_OUT, "There is no token.", retry_after=30.0, detail="for the log", close=True
)
TOO_LARGE: Final = SidecarError(ErrorCode.BODY_TOO_LARGE, "The body is too large.")


@pytest.mark.parametrize("error", [LOCKED_OUT, TOO_LARGE], ids=["with everything", "with a message alone"])
def test_after_a_401_an_error_says_that_nothing_was_executed_and_when_to_come_again(error: SidecarError) -> None:
    told = _rejected(error)
    assert told.message == (
        f"{error.message} Mangopay answered the request with 401 and executed nothing: it may be sent again as it is."
    )
    assert (told.code, told.outcome, told.detail) == (error.code, Outcome.REJECTED, error.detail)
    assert (told.retry_after, told.close) == (error.retry_after, error.close)


@pytest.mark.parametrize("error", [LOCKED_OUT, TOO_LARGE], ids=["with everything", "with a message alone"])
def test_once_a_part_is_out_an_error_warns_of_repeating_a_write_and_invites_nobody_to(error: SidecarError) -> None:
    told = _delivered(error)
    assert told.message == (
        f"{error.message} A part of the request may have reached Mangopay: before you repeat a write, find out."
    )
    assert (told.code, told.outcome, told.detail) == (error.code, Outcome.UNKNOWN, error.detail)
    assert (told.retry_after, told.close) == (None, error.close)
