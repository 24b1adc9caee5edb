"""Rules between keys. Each error names the keys, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.config.errors import ConfigError
from sidecar.config.model import MangopayEnvironment
from sidecar.core.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.config.errors import Complaints
    from sidecar.config.model import Admin, Limits, Listen, Tls

# Whether a client certificate is shown decides which host answers.
_HOSTS: Final = {
    (MangopayEnvironment.SANDBOX, False): "api.sandbox.mangopay.com",
    (MangopayEnvironment.SANDBOX, True): "api-mtls.sandbox.mangopay.com",
    (MangopayEnvironment.PRODUCTION, False): "api.mangopay.com",
    (MangopayEnvironment.PRODUCTION, True): "api-mtls.mangopay.com",
}
_WILDCARDS: Final = ("0.0.0.0", "::")
_ENVIRONMENT_OF: Final = {host: environment for (environment, _), host in _HOSTS.items()}


def resolve_endpoint(
    environment: MangopayEnvironment, base_url: Endpoint | None, *, client_certificate: bool
) -> Endpoint:
    """Return where calls go: ``base_url`` if set and allowed, else the environment's host."""
    if base_url is None:
        if environment is MangopayEnvironment.EMULATOR:
            raise ConfigError(
                "mangopay.environment",
                'is "emulator" without mangopay.base_url',
                "set SIDECAR_MANGOPAY_BASE_URL to the emulator's address",
            )
        return Endpoint("https", _HOSTS[environment, client_certificate], 443, "")
    meant = _ENVIRONMENT_OF.get(base_url.name, environment)
    if meant is not environment:
        raise ConfigError(
            "mangopay.base_url",
            f"is a host of Mangopay's {meant} while mangopay.environment is {environment}",
            "make SIDECAR_MANGOPAY_BASE_URL and SIDECAR_MANGOPAY_ENVIRONMENT agree",
        )
    if base_url.scheme == "http" and not base_url.is_loopback and environment is not MangopayEnvironment.EMULATOR:
        raise ConfigError(
            "mangopay.base_url",
            "is plain http:// to a host that is not loopback",
            'use https:// in SIDECAR_MANGOPAY_BASE_URL (only mangopay.environment "emulator" may do without)',
        )
    return base_url


def check_tls(tls: Tls, complaints: Complaints) -> None:
    """Complain of half a client certificate."""
    if tls.client_cert_file is not None and tls.client_key_file is None:
        complaints.add(_incomplete("tls.client_cert_file", "tls.client_key_file"))
    if tls.client_key_file is not None and tls.client_cert_file is None:
        complaints.add(_incomplete("tls.client_key_file", "tls.client_cert_file"))
    if tls.client_key_password is not None and tls.client_key_file is None:
        complaints.add(_incomplete("tls.client_key_password", "tls.client_key_file"))


def check_listeners(listen: Listen, admin: Admin, environment: MangopayEnvironment, complaints: Complaints) -> None:
    """Complain of listeners that reach nobody, guard nothing, let anybody in, or collide."""
    if listen.allowed_hosts and listen.caller_key is None and environment is not MangopayEnvironment.EMULATOR:
        # Browsers send Sec-Fetch-Site to loopback and https addresses only: to such a name, a page's GET has no sign.
        why = "is set without listen.caller_key, so any web page and any neighbour on that network could use your key"
        mend = "set SIDECAR_LISTEN_CALLER_KEY_FILE too, and give it to apps as their API key"
        complaints.add(ConfigError("listen.allowed_hosts", why, mend))
    if listen.port is None and listen.unix_socket is None:
        why = 'is "off" without listen.unix_socket'
        complaints.add(ConfigError("listen.port", why, "set one, so that apps have a way in"))
    if listen.allowed_uids is not None and listen.unix_socket is None:
        complaints.add(_incomplete("listen.allowed_uids", "listen.unix_socket"))
    for section, hosts in (("listen", listen.host), ("admin", admin.host)):
        numeric = {each for each in _addresses(hosts) if _is_numeric(each)}  # what a name will be is not known
        for wildcard in _WILDCARDS:
            if wildcard in numeric and _covers({wildcard}, numeric - {wildcard}):
                why = f"names {wildcard}, which is every address of its family, and one of these besides"
                complaints.add(
                    ConfigError(f"{section}.host", why, f"name one of them in SIDECAR_{section.upper()}_HOST")
                )
    if listen.port and listen.port == admin.port and _share_address(listen.host, admin.host):
        why = f"are both {listen.port}, on the same address"
        mend = "set another SIDECAR_LISTEN_PORT or SIDECAR_ADMIN_PORT"
        complaints.add(ConfigError("listen.port and admin.port", why, mend))


def _share_address(hosts: Iterable[str], others: Iterable[str]) -> bool:
    """Whether two listeners of one port are in each other's way: ``0.0.0.0`` and ``::`` are all of their family."""
    one, other = _addresses(hosts), _addresses(others)
    return bool(one & other) or _covers(one, other) or _covers(other, one)


def _is_numeric(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


def _addresses(hosts: Iterable[str]) -> set[str]:
    return {address for host in hosts for address in (("127.0.0.1", "::1") if host == "localhost" else (host,))}


def _covers(one: set[str], other: set[str]) -> bool:
    return ("0.0.0.0" in one and any(":" not in each for each in other)) or (
        "::" in one and any(":" in each for each in other)
    )


def limits_warnings(limits: Limits) -> list[str]:
    """Return a sentence for settings of the batch lane that have no effect, because ``limits.reserve`` is 0%."""
    if limits.reserve or not (limits.batch or limits.wait):
        return []
    name = "limits.batch" if limits.batch else "limits.wait"
    return [f"{name} means nothing while limits.reserve is 0%: set SIDECAR_LIMITS_RESERVE too, to 20% for example"]


def _incomplete(name: str, needed: str) -> ConfigError:
    variable = f"SIDECAR_{needed.replace('.', '_').upper()}"
    return ConfigError(name, f"is set without {needed}, and means nothing alone", f"set {variable} too")
