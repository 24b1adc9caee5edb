"""An emulator and a sidecar in front of it, for the tests of one process: found in the environment, or started.

What is started is ``mangopay-sidecar wrap --emulator`` around a program that reads its stdin until it ends. This
process holds the other end: when it is gone, however it went, the program ends, and with it everything.
"""

from __future__ import annotations

import http.client
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sidecar.testing.control import EmulatorError, Response, send
from sidecar.testing.emulator import CLIENT_ID, MangopayEmulator

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE_URL: Final = "MANGOPAY_BASE_URL"
EMULATOR_URL: Final = "MANGOPAY_EMULATOR_URL"

#: Tells where both are, then lives for as long as somebody holds the other end of its stdin.
_HOLDER: Final = f'echo "${BASE_URL} ${EMULATOR_URL}"; exec cat >/dev/null'
#: Seconds: until it must be ready (``wrap`` gives up after 30), to end by itself, and to end once it was told to.
_READY, _LEAVE, _GO = 45.0, 3.0, 5.0
#: Of the variables that are the sidecar's, those that say how it logs. The others may be a real sidecar's.
_KEPT: Final = "SIDECAR_LOG_"
#: What a sidecar that is all right may say to a call that shows nothing: it wants a key, or refuses the path.
_NOT_FOR_US: Final = frozenset(("caller_not_allowed", "policy_denied"))
#: The longest wait for a sidecar that holds off; a lockout's first pause is 30 s, give or take a fifth.
_LONGEST_WAIT: Final = 40.0
#: Seconds between two tries where nobody says when.
_LOOK: Final = 0.1
#: How often, and how many seconds apart, the log is looked at for what belongs to a failure.
_LOOKS_AT_LOG, _PAUSE = 30, 0.01


class Pair:
    """An emulator and a sidecar that somebody else started, and ends: ``wrap --emulator``, or a service container."""

    #: What is told when a test has failed.
    log = ""

    def __init__(self, base_url: str, emulator_url: str) -> None:
        """Raises EmulatorError if ``base_url`` is no sidecar in front of an emulator."""
        self.base_url = base_url.rstrip("/")
        self.emulator_url = emulator_url.rstrip("/")
        #: How long the sidecar was waited for that an earlier test had left latched, in seconds.
        self.waited = 0.0

    @classmethod
    def given(cls, environ: Mapping[str, str]) -> Pair | None:
        """Return what the environment names; None: nothing. Raises EmulatorError if that is no good for tests."""
        base_url, emulator_url = environ.get(BASE_URL), environ.get(EMULATOR_URL)
        if not base_url and not emulator_url:
            return None
        if not base_url or not emulator_url:
            there, missing = (BASE_URL, EMULATOR_URL) if base_url else (EMULATOR_URL, BASE_URL)
            raise EmulatorError(
                f"{there} is set, and {missing} is not: run the tests under `mangopay-sidecar wrap --emulator --`, "
                f"which sets both; or set both; or unset {there}, and an emulator and a sidecar are started"
            )
        pair = cls(base_url, emulator_url)
        pair.examine()
        return pair

    def examine(self) -> None:
        """Raise EmulatorError unless ``base_url`` is a sidecar that leads to an emulator; no call goes past it."""
        try:
            answer = send(self.base_url, "GET", "/")
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise EmulatorError(
                f"no sidecar answers at {BASE_URL}={self.base_url} ({reason}): is it started?"
            ) from error
        told = answer.json()
        if not isinstance(told, dict) or told.get("name") != "mangopay-sidecar":
            said = answer.headers.get("X-Sidecar-Error") or answer.status
            raise EmulatorError(
                f"{BASE_URL}={self.base_url} is no mangopay-sidecar that talks to us ({said}): name one"
            )
        if told.get("environment") != "emulator":
            which = (
                f"for Mangopay's own {told['environment']}" if "environment" in told else "that does not tell for what"
            )
            raise EmulatorError(
                f"{BASE_URL}={self.base_url} is a sidecar {which}: unset it, and an emulator and a sidecar are "
                "started for the tests"
            )

    def begin(self, *, reset: bool) -> None:
        """With ``reset`` make both as new, and the sidecar ready; else leave all as it is. Raises EmulatorError."""
        if reset:
            MangopayEmulator(self.emulator_url).reset()
            self._make_ready()

    def wait_for_log(self, length: int) -> None:
        """Wait until there is more of the log than ``length`` characters, for a moment: it comes after the answer."""

    def end(self) -> None:
        """End what was started here. May be repeated."""

    def _make_ready(self) -> None:
        """Wait until the sidecar passes calls on: it may hold off since an earlier test's lockout."""
        waited = 0.0
        while (refusal := self._refusal()) is not None:
            why, pause = refusal
            if waited + pause > _LONGEST_WAIT:
                raise EmulatorError(f"the sidecar at {self.base_url} passes no call on ({why}): its log tells more")
            time.sleep(pause)
            waited += pause
        self.waited += waited

    def _refusal(self) -> tuple[str, float] | None:
        """Make a call, by which a sidecar whose token was revoked gets another; return what came in its way.

        That is a word, and the seconds until it is worth trying again. None: nothing did.
        """
        try:
            answer = self._call("_")
            if answer.headers.get("X-Sidecar-Error") == "client_id_mismatch":
                answer = self._call(CLIENT_ID)  # another set of aliases
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__, _LOOK
        error_code = answer.headers.get("X-Sidecar-Error")
        if answer.status == 200 or error_code in _NOT_FOR_US:
            return None
        return error_code or f"status {answer.status}", float(answer.headers.get("Retry-After", _LOOK))

    def _call(self, client_id: str) -> Response:
        return send(self.base_url, "GET", f"/v2.01/{client_id}/clients")


class StartedPair(Pair):
    """An emulator and a sidecar of one's own, on free ports."""

    def __init__(self) -> None:
        """Start them. Raises EmulatorError."""
        super().__init__("", "")
        self._logged = ""
        self._start("0")

    @property
    def log(self) -> str:  # type: ignore[override]
        """What the sidecar had to say: warnings and errors."""
        if self._stderr.closed:
            return self._logged
        # By its position: the sidecar writes at the offset that it shares with this file.
        descriptor = self._stderr.fileno()
        content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        return self._logged + content.decode("utf-8", "replace")

    def begin(self, *, reset: bool) -> None:
        """With ``reset`` make both as new; where the sidecar holds off, by starting them again at the same base URL."""
        if self._process.poll() is not None:
            raise EmulatorError(f"the sidecar has ended by itself, with status {self._process.returncode}: {self.log}")
        if not reset:
            return  # a call would use up a fault that the test before has left
        MangopayEmulator(self.emulator_url).reset()
        if self._refusal() is not None:
            self.end()
            self._start_again()
            self._make_ready()

    def wait_for_log(self, length: int) -> None:
        """Wait until there is more of the log than ``length`` characters, for a moment: it comes after the answer."""
        for _ in range(_LOOKS_AT_LOG):
            if len(self.log) > length:
                break
            time.sleep(_PAUSE)

    def end(self) -> None:
        """End both, by force if need be."""
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        for number, patience in ((None, _LEAVE), (signal.SIGTERM, _GO), (signal.SIGKILL, None)):
            with suppress(subprocess.TimeoutExpired):
                if number is not None:
                    with suppress(ProcessLookupError):  # its group: the program is in it
                        os.killpg(process.pid, number)
                process.wait(patience)
                break
        self._logged = self.log
        self._stderr.close()

    def _start_again(self) -> None:
        """Start both, at the same base URL unless somebody has taken its port meanwhile."""
        try:
            self._start(self.base_url.rpartition(":")[2])
        except EmulatorError:
            self._start("0")

    def _start(self, port: str) -> None:
        # Not from the working directory (-P): what is called so there is not what is installed.
        command = [sys.executable, "-P", "-m", "mangopay_sidecar", "wrap", "--emulator", "--", "sh", "-c", _HOLDER]
        # A file, since nobody would read a pipe.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._process = subprocess.Popen(  # noqa: S603 - nothing of it comes from elsewhere
            command,
            env=_environment(port),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            # Ctrl-C is for the tests, which may still need it for their end.
            start_new_session=True,
        )
        urls = self._first_line().split()
        if len(urls) != 2:
            log = self.log.strip() or "it said nothing"
            self.end()
            raise EmulatorError(f"no emulator and sidecar could be started for the tests: {log}")
        self.base_url, self.emulator_url = urls

    def _first_line(self) -> str:
        stdout = self._process.stdout
        ready = [] if stdout is None else select.select([stdout], [], [], _READY)[0]
        return stdout.readline().decode() if stdout is not None and ready else ""


def _environment(port: str) -> dict[str, str]:
    kept = {
        name: text for name, text in os.environ.items() if name.startswith(_KEPT) or not name.startswith("SIDECAR_")
    }
    return {"SIDECAR_LOG_FORMAT": "console", **kept, "SIDECAR_LISTEN_PORT": port, "SIDECAR_ADMIN_PORT": "off"}
