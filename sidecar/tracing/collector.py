"""The way to the collector: the session that the SDK's exporter sends by, held to the rules of this process.

``requests`` would take proxies from the environment, a password from ``.netrc``, and read a response of any size.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.adapters import HTTPAdapter

from sidecar.core.tls_alerts import reason_in_words
from sidecar.network.trust import verifying_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Bytes of a response that are read: nothing in it is needed.
_LONGEST_RESPONSE: Final = 64 * 1024
#: The SDK's names of a file with the CA certificates to be trusted alone.
_AUTHORITIES: Final = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")


class CollectorSession(requests.Session):  # type: ignore[misc,unused-ignore] # it has no types where its stubs are not
    """Sends spans, and keeps in words what became of the last request: no message of a library, which may quote one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__()
        self.trust_env = False
        # A private CA is trusted alone, as the SDK does it; the adapter adds what ``verify`` says.
        context = verifying_context(system_store=not any(environ.get(name) for name in _AUTHORITIES))
        self.mount("https://", _OwnContext(context))
        #: Ends the sentence "The collector …".
        self.told = "has not answered yet"

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override,unused-ignore]
        """Send a request. Raises what ``requests`` raises, and RequestException for a redirect: it is not followed."""
        try:
            response: requests.Response = super().request(method, url, **{**options, "stream": True})
        except Exception as error:
            self.told = _failure(error)
            raise
        self.told = f"answered {response.status_code}"
        with response:
            response.raw.read(_LONGEST_RESPONSE, decode_content=False)
        if 300 <= response.status_code < 400:
            self.told = f"answered {response.status_code}: a redirect, which is not followed"
            raise requests.RequestException("redirected")
        return response


class _OwnContext(HTTPAdapter):  # type: ignore[misc,unused-ignore]
    """Speaks TLS by a context of ours: urllib3's would write session keys where SSLKEYLOGFILE says."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=self._context)


def _failure(error: BaseException) -> str:
    """Say in fixed words what went wrong."""
    if isinstance(error, requests.Timeout):
        return "did not answer in time"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            words = reason_in_words(getattr(cause, "reason", None)) or "no reason given"
            return f"cannot be reached by TLS: {words}"
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
            return f"cannot be reached: {os.strerror(cause.errno).lower()}"
    return f"cannot be reached: {type(error).__name__}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, and what it says that it came from: urllib3 keeps that in several places."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        current = waiting.pop(0)
        if any(current is known for known in seen):
            continue
        seen.append(current)
        yield current
        known = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        waiting += [each for each in known if isinstance(each, BaseException)]
