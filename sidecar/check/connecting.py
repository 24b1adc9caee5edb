"""The connection to Mangopay, one step at a time: DNS, TCP or egress proxy, TLS. Nothing of a request is sent on it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING, Final

from sidecar.advice.classify import classify_connect_error, classify_tls_reason
from sidecar.advice.issuer import issuer
from sidecar.advice.tunnel import explain_tunnel
from sidecar.advice.verification import verdict_on
from sidecar.check.peer import Silent, context_for, describe_peer
from sidecar.config import ConfigError
from sidecar.core.causes import Cause, StepFinding
from sidecar.core.certificate import moment
from sidecar.core.http.tunnel import TunnelRefusedError, authority
from sidecar.core.tls_alerts import reason_in_words
from sidecar.patience import PatientTimeout
from sidecar.upstream.dialing import dialer_for
from sidecar.upstream.errors import os_detail

if TYPE_CHECKING:
    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.network.resolver import Addresses
    from sidecar.upstream.egress import Egress
    from sidecar.upstream.trust import Trust

#: Seconds to wait after a TLS 1.3 handshake, in which the server's word on our certificate comes last (RFC 8446
#: section 2): so many times what the handshake took, within these bounds.
_ALERT_WAIT: Final = 3
_ALERT_WAIT_LEAST: Final = 0.25
_ALERT_WAIT_MOST: Final = 1.0
_ADDRESSES_SHOWN: Final = 4

#: What the resolver says where the name does not exist; its other errors are about the resolver.
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME), socket.EAI_FAIL})
#: Causes that a second look at the server's certificate tells more about.
_SHOWN_BY_PEER: Final = frozenset({
    Cause.TLS_UNKNOWN_ISSUER, Cause.TLS_WRONG_NAME, Cause.TLS_SERVER_EXPIRED, Cause.TLS_SERVER_NOT_YET_VALID,
})  # fmt: skip


class ConnectionProbe:
    """One connection in the making, by the steps of the dialer that calls use. :meth:`close` ends it at any of them."""

    def __init__(self, config: Config, trust: Trust | None, clock: Clock) -> None:
        self._dialer: Final = dialer_for(config, trust, clock)
        self.egress: Final = self._dialer.egress
        self._limit: Final = config.upstream.connect_timeout
        self._endpoint: Final = config.mangopay.endpoint
        self._tls: Final = config.tls
        self._trust: Final = trust
        self._clock: Final = clock
        self._addresses: Addresses = ()
        self._raw: socket.socket | None = None
        self._local: str | None = None

    @property
    def source_address(self) -> str:
        """By which address calls leave, as far as this machine can know."""
        if self.egress is not None:
            return f"calls leave by the {self.egress.name}: its outside address is the one to list"
        if self._local is None:
            return "by which address calls leave is not known"
        if ipaddress.ip_address(self._local).is_global:
            return f"calls leave from {self._local}"
        return f"calls leave this machine as {self._local}, no public address: the one to list is the NAT's outside"

    def close(self) -> None:
        """Close the socket, if there is one."""
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    async def resolve(self) -> StepFinding:
        """Resolve the name of whoever is connected to: Mangopay, or the egress proxy."""
        host, _ = self._dialer.next_hop
        try:
            async with PatientTimeout(self._limit):
                self._addresses = await self._dialer.resolve()
        except TimeoutError:
            return StepFinding.failed(Cause.RESOLVER_UNREACHABLE, f"{host}: no answer within {self._limit:g} s")
        except (OSError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_SUCH_NAME:
                return StepFinding.failed(Cause.RESOLVER_UNREACHABLE, f"{host}: {os_detail(error)}")
            cause = Cause.UNKNOWN_HOST if self.egress is None else Cause.EGRESS_UNKNOWN_HOST
            return StepFinding.failed(cause, f"{host} has no address")
        found = list(dict.fromkeys(str(info[4][0]) for info in self._addresses))
        if found == [host]:
            return StepFinding.ok(f"{host} is an address already")
        more = " …" if len(found) > _ADDRESSES_SHOWN else ""
        return StepFinding.ok(f"{host} is {', '.join(found[:_ADDRESSES_SHOWN])}{more}")

    async def connect(self) -> StepFinding:
        """Connect, and have the egress proxy open a tunnel if there is one."""
        there = authority(self._endpoint.host, self._endpoint.port)
        timeout = PatientTimeout(self._limit)
        try:
            async with timeout:
                self._raw = await self._dialer.connect(self._addresses)
                await self._dialer.tunnel(self._raw)
        except TunnelRefusedError as error:
            cause, words = explain_tunnel(error)
            return StepFinding.failed(cause, f"{_name(self.egress)}: {words}")
        except OSError as error:
            return self._not_connected(error, there, late=timeout.expired())
        self._local = str(self._raw.getsockname()[0]).partition("%")[0]
        if self.egress is not None:
            return StepFinding.ok(f"a tunnel to {there} through the {self.egress.name}")
        return StepFinding.ok(f"connected to {there} from {self._local}")

    def _not_connected(self, error: OSError, there: str, *, late: bool) -> StepFinding:
        why = os_detail(error) if error.errno is not None else "every address failed, each in another way"
        if late:
            why = f"not done within {self._limit:g} s"
        if self.egress is not None:
            cause = Cause.EGRESS_UNREACHABLE if self._raw is None else Cause.EGRESS_REFUSED
            return StepFinding.failed(cause, f"{self.egress.name}: {why}")
        return StepFinding.failed(classify_connect_error(error.errno, late=late), f"{there}: {why}")

    # --- TLS ---------------------------------------------------------------------------------------------------------

    async def shake_hands(self) -> StepFinding:
        """Agree on TLS as calls do, and close."""
        if self._raw is None or self._trust is None:
            return StepFinding.skipped("plain http://")
        raw, self._raw = self._raw, None
        timeout = PatientTimeout(self._limit)
        started = self._clock.now()
        try:
            async with timeout:
                silent = await self._dialer.shake_hands(raw, Silent)
        except (OSError, RuntimeError) as error:
            raw.close()
            if timeout.expired():
                return StepFinding.failed(Cause.TLS_TIMEOUT, f"not done within {self._limit:g} s")
            return await self._explain(error)
        try:
            return await self._last_word(silent, self._clock.now() - started)
        finally:
            silent.transport.abort()

    async def _last_word(self, silent: Silent, took: float) -> StepFinding:
        """Wait to see whether the server ends a TLS 1.3 connection right after its handshake."""
        agreed = StepFinding.ok(_agreed(silent.tls))
        if silent.tls.version() != "TLSv1.3":
            return agreed
        wait = min(max(_ALERT_WAIT * took, _ALERT_WAIT_LEAST), _ALERT_WAIT_MOST)
        await asyncio.wait([silent.ended], timeout=wait)
        if not silent.ended.done():
            return agreed
        error = silent.transport.get_extra_info("tls_error")
        return await self._explain(error) if isinstance(error, ssl.SSLError) else self._hung_up()

    def _hung_up(self) -> StepFinding:
        """Judge a close right after the handshake: some servers refuse a certificate so, without an alert."""
        cause = Cause.CLIENT_CERTIFICATE_REFUSED if self._has_certificate else Cause.CLIENT_CERTIFICATE_REQUIRED
        return StepFinding.failed(
            cause, "the server closed the connection right after the handshake, without a TLS alert"
        )

    @property
    def _has_certificate(self) -> bool:
        return self._trust is not None and self._trust.validity is not None

    async def _explain(self, error: Exception) -> StepFinding:
        if isinstance(error, ssl.SSLCertVerificationError):
            cause, what, _ = verdict_on(error)
            shown = await self._look_again(cause) if cause in _SHOWN_BY_PEER else ""
            return StepFinding.failed(cause, f"the server's certificate: {what}{f'; {shown}' if shown else ''}")
        if isinstance(error, ssl.SSLError):
            reason = reason_in_words(error.reason)
            cause = classify_tls_reason(reason, client_certificate=self._has_certificate) or Cause.TLS_REFUSED
            return StepFinding.failed(cause, f"TLS failed: {reason or 'no reason given'}")
        return StepFinding.failed(Cause.TLS_CUT, "the connection was closed during the TLS handshake")

    async def _look_again(self, cause: Cause) -> str:
        """Connect once more and see what the server shows."""
        dialer, raw = self._dialer, None
        try:
            context = context_for(cause, self._tls, self._clock.wall())
            async with PatientTimeout(self._limit):
                raw = await dialer.connect(self._addresses)
                await dialer.tunnel(raw)
                silent = await dialer.shake_hands(raw, Silent, context)
        except (OSError, RuntimeError, TunnelRefusedError, ConfigError):
            if raw is not None:
                raw.close()
            return ""
        silent.transport.abort()
        return describe_peer(silent.tls, cause)


def _name(egress: Egress | None) -> str:
    return "the proxy" if egress is None else egress.name


def _agreed(connection: ssl.SSLObject) -> str:
    fields, der = connection.getpeercert() or {}, connection.getpeercert(binary_form=True)
    until = fields.get("notAfter")
    parts = [str(connection.version())]
    if isinstance(until, str):
        parts.append(f"certificate valid to {moment(ssl.cert_time_to_seconds(until))}")
    if der is not None:
        parts.append(f"issued by {issuer(der)}")
    return ", ".join(parts)
