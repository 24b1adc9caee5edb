"""The way to Mangopay, one step at a time: DNS, TCP or egress proxy, TLS. Nothing of a request is sent on it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING, Final

import aiohappyeyeballs

from sidecar.check.peer import context_for, describe
from sidecar.config import ConfigError
from sidecar.core.certificate import moment
from sidecar.core.diagnosis import Cause, Finding
from sidecar.core.issuer import issuer
from sidecar.core.symptoms import of_connect, of_tls_reason, of_tunnel, of_verification
from sidecar.core.tunnel import TunnelRefusedError, authority
from sidecar.upstream.egress import Egress
from sidecar.upstream.errors import os_detail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.upstream.dialing import AddressInfo
    from sidecar.upstream.tls import Trust

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


class Way:
    """One connection in the making. :meth:`close` ends it, however far it got."""

    def __init__(self, config: Config, trust: Trust | None, clock: Clock) -> None:
        proxy = config.upstream.egress_proxy
        self.egress: Final = None if proxy is None else Egress(proxy)
        self._endpoint: Final = config.mangopay.endpoint
        self._tls: Final = config.tls
        self._trust: Final = trust
        self._clock: Final = clock
        self._limit: Final = config.upstream.connect_timeout
        self._addresses: Sequence[AddressInfo] = ()
        self._raw: socket.socket | None = None
        self._local: str | None = None
        self._proxy_reached = False

    @property
    def came_from(self) -> str:
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

    async def resolve(self) -> Finding:
        """Resolve the name of whoever is connected to: Mangopay, or the egress proxy."""
        hop = self.egress or self._endpoint
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limit):
                self._addresses = await loop.getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
        except TimeoutError:
            return Finding.failed(Cause.RESOLVER_UNREACHABLE, f"{hop.host}: no answer within {self._limit:g} s")
        except (OSError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_SUCH_NAME:
                return Finding.failed(Cause.RESOLVER_UNREACHABLE, f"{hop.host}: {os_detail(error)}")
            cause = Cause.UNKNOWN_HOST if self.egress is None else Cause.EGRESS_UNKNOWN_HOST
            return Finding.failed(cause, f"{hop.host} has no address")
        found = list(dict.fromkeys(str(info[4][0]) for info in self._addresses))
        if found == [hop.host]:
            return Finding.ok(f"{hop.host} is an address already")
        more = " …" if len(found) > _ADDRESSES_SHOWN else ""
        return Finding.ok(f"{hop.host} is {', '.join(found[:_ADDRESSES_SHOWN])}{more}")

    async def connect(self) -> Finding:
        """Connect, and have the egress proxy open a tunnel if there is one."""
        there = authority(self._endpoint.host, self._endpoint.port)
        timeout = asyncio.timeout(self._limit)
        try:
            async with timeout:
                self._raw = await self._open()
        except TunnelRefusedError as error:
            return Finding.failed(of_tunnel(str(error)), f"{_name(self.egress)}: {error}")
        except OSError as error:
            return self._not_connected(error, there, late=timeout.expired())
        self._local = str(self._raw.getsockname()[0]).partition("%")[0]
        if self.egress is not None:
            return Finding.ok(f"a tunnel to {there} through the {self.egress.name}")
        return Finding.ok(f"connected to {there} from {self._local}")

    def _not_connected(self, error: OSError, there: str, *, late: bool) -> Finding:
        why = os_detail(error) if error.errno is not None else "every address failed, each in another way"
        if late:
            why = f"not done within {self._limit:g} s"
        if self.egress is not None:
            cause = Cause.EGRESS_REFUSED if self._proxy_reached else Cause.EGRESS_UNREACHABLE
            return Finding.failed(cause, f"{self.egress.name}: {why}")
        return Finding.failed(of_connect(error.errno, late=late), f"{there}: {why}")

    async def _open(self) -> socket.socket:
        raw = await aiohappyeyeballs.start_connection(self._addresses, happy_eyeballs_delay=0.25)
        if self.egress is not None:
            self._proxy_reached = True
            await self.egress.open_tunnel(raw, self._endpoint)
        return raw

    # --- TLS ---------------------------------------------------------------------------------------------------------

    async def shake_hands(self) -> Finding:
        """Agree on TLS as calls do, and close."""
        trust = self._trust
        if self._raw is None or trust is None:
            return Finding.skipped("plain http://")
        raw, self._raw = self._raw, None
        timeout = asyncio.timeout(self._limit)
        started = self._clock.now()
        try:
            async with timeout:
                reader, writer = await asyncio.open_connection(
                    sock=raw, ssl=trust.context, server_hostname=self._endpoint.host
                )
        except (OSError, RuntimeError) as error:
            raw.close()
            if timeout.expired():
                return Finding.failed(Cause.TLS_TIMEOUT, f"not done within {self._limit:g} s")
            return await self._explain(error)
        try:
            return await self._last_word(reader, writer, self._clock.now() - started)
        except ssl.SSLError as error:
            return await self._explain(error)
        except OSError:
            return self._hung_up()
        finally:
            writer.transport.abort()

    async def _last_word(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, took: float) -> Finding:
        """Wait whether the server ends a TLS 1.3 connection right after its handshake. Raises OSError if so."""
        connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
        agreed = Finding.ok(_agreed(connection))
        if connection.version() != "TLSv1.3":
            return agreed
        try:
            async with asyncio.timeout(min(max(_ALERT_WAIT * took, _ALERT_WAIT_LEAST), _ALERT_WAIT_MOST)):
                return agreed if await reader.read(1) else self._hung_up()
        except TimeoutError:
            return agreed

    def _hung_up(self) -> Finding:
        """Judge a close right after the handshake: some servers refuse a certificate so, without an alert."""
        cause = Cause.CLIENT_CERTIFICATE_REFUSED if self._has_certificate else Cause.CLIENT_CERTIFICATE_REQUIRED
        return Finding.failed(cause, "the server closed the connection right after the handshake, without a word")

    @property
    def _has_certificate(self) -> bool:
        return self._trust is not None and self._trust.validity is not None

    async def _explain(self, error: Exception) -> Finding:
        if isinstance(error, ssl.SSLCertVerificationError):
            cause = of_verification(error.verify_code)
            shown = await self._look_again(cause) if cause in _SHOWN_BY_PEER else ""
            return Finding.failed(cause, f"{_VERDICTS[cause]}{f'; {shown}' if shown else ''}")
        if isinstance(error, ssl.SSLError):
            reason = (error.reason or "").lower().replace("_", " ")
            cause = of_tls_reason(reason, client_certificate=self._has_certificate) or Cause.TLS_REFUSED
            return Finding.failed(cause, f"TLS failed: {reason or 'no reason given'}")
        return Finding.failed(Cause.TLS_CUT, "the connection was closed during the TLS handshake")

    async def _look_again(self, cause: Cause) -> str:
        """Connect once more and see what the server shows."""
        try:
            context = context_for(cause, self._tls, self._clock.wall())
            async with asyncio.timeout(self._limit):
                return await describe(await self._open(), self._endpoint.host, cause, context)
        except (OSError, TunnelRefusedError, ConfigError):
            return ""


_VERDICTS: Final = {
    Cause.TLS_UNKNOWN_ISSUER: "the server's certificate is not trusted here",
    Cause.TLS_WRONG_NAME: "the server's certificate is for another name",
    Cause.TLS_SERVER_EXPIRED: "the server's certificate has expired",
    Cause.TLS_SERVER_NOT_YET_VALID: "the server's certificate is not valid yet",
    Cause.TLS_CERTIFICATE_REFUSED: "the server's certificate is refused",
}


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
