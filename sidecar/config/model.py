"""Every key of the configuration, declared once.

A field is at once the key's name, the type that the code reads, and a :class:`~sidecar.config.setting.Setting`:
kind, default, meaning. Loading, error messages, the commented example and the documentation's table are derived
from here.

Durations are seconds, sizes bytes.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from sidecar.config.addresses import (
    ALIAS,
    ALLOWED_HOST,
    BASE_URL,
    BIND_HOST,
    COLLECTOR,
    EGRESS_PROXY,
    POLICY_RULE,
    TOKEN_STORE,
    EgressProxy,
    TokenStore,
)
from sidecar.config.setting import REQUIRED, Section, Setting, declared, setting
from sidecar.config.values import (
    BOOLEAN,
    CLIENT_ID,
    MODE,
    PATH,
    PORT,
    SAMPLE,
    SHARE,
    Kind,
    choice,
    duration,
    integer,
    items,
    secret,
    size,
)
from sidecar.core.endpoint import Endpoint
from sidecar.core.secret import Secret

_LOOPBACK: Final = ["127.0.0.1", "::1"]
_POSITIVE_DURATION: Final = duration(0.001)
_DURATION: Final = duration(0)
_API_KEY: Final = secret("the key as Mangopay's Dashboard shows it")


class MangopayEnvironment(StrEnum):
    """Which Mangopay is meant."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"
    EMULATOR = "emulator"


_NAMES: Final = choice(*MangopayEnvironment)
_ENVIRONMENT: Final = Kind(_NAMES.expected, lambda value: MangopayEnvironment(_NAMES.parse(value)), is_string=True)


class Mangopay(Section, frozen=True, kw_only=True):
    """Which account, and where Mangopay is."""

    environment: MangopayEnvironment = setting(
        _ENVIRONMENT,
        "sandbox",
        "`sandbox` and `production` give `base_url` (the api-mtls host when a client certificate is set). `emulator` "
        "needs `base_url`, which may then be plain `http://` to any host.",
    )
    base_url: Endpoint | None = setting(
        BASE_URL,
        None,
        "Another base URL. It may carry a path prefix; an IPv6 address stands in brackets. `http://` only for a "
        "loopback host, unless `environment` is `emulator`. Unset: from `environment`.",
        example="https://mangopay.internal/prefix",
    )
    client_id: str = setting(CLIENT_ID, REQUIRED, "The ClientId.", example="acme")
    api_key: Secret = setting(_API_KEY, REQUIRED, "The API key.")
    embedded_api_key: Secret | None = setting(
        _API_KEY,
        None,
        "Dedicated key for the two embedded-token paths. Its token is fetched on first use.",
    )
    client_id_aliases: tuple[str, ...] = setting(
        items(ALIAS),
        ["{ClientId}", "_"],
        "The path segment right after the version, compared percent-decoded, that equals one of these is replaced by "
        "`client_id`. `*` stands for any plain name except `countries` and `oauth`, which follow the version in paths "
        "without a ClientId.",
    )
    foreign_client_ids: str = setting(
        choice("refuse", "forward"),
        "refuse",
        "A path with another ClientId: `refuse` it here with 403 `client_id_mismatch`, or `forward` it to Mangopay, "
        "whose 401 then says nothing of the token.",
    )
    #: Where all calls go: ``base_url``, else the host of the environment. No key of its own.
    endpoint: Endpoint


class Listen(Section, frozen=True, kw_only=True):
    """The proxy port, which the app calls."""

    host: tuple[str, ...] = setting(
        items(BIND_HOST, minimum=1, or_one=True),
        _LOOPBACK,
        "One address or several. A loopback family that the machine lacks is skipped. `0.0.0.0` serves IPv4 only, `::` "
        "IPv6 only: name both for both.",
    )
    port: int | None = setting(PORT, 18080, '`0`: any free port. `"off"`: no TCP.')
    unix_socket: Path | None = setting(
        PATH,
        None,
        "A Unix socket, served as well. A stale one is replaced, a live one refused.",
        example="/run/mangopay-sidecar/proxy.sock",
    )
    unix_socket_mode: int = setting(
        MODE,
        "0600",
        "Its file mode, in octal digits.",
    )
    allowed_uids: tuple[int, ...] | None = setting(
        items(integer(0, 2**32 - 2), minimum=1),
        None,
        "Only peers of these user ids may use the Unix socket.",
        example=[1000],
    )
    allowed_hosts: tuple[str, ...] = setting(
        items(ALLOWED_HOST),
        [],
        "Names accepted in `Host` besides `localhost`, 127.0.0.0/8 and `[::1]`, with any port or none, a dot at the "
        "end or none. Not checked on the Unix socket. Needs `listen.caller_key` (not in `emulator`).",
    )
    caller_key: Secret | None = setting(
        secret("at least 16 ASCII characters", minimum=16, spaces=True),
        None,
        "Callers must prove that they know this key. At least 16 characters.",
    )
    max_body: int = setting(size(1), "64MiB", "Largest request body.")
    header_timeout: float = setting(_POSITIVE_DURATION, "10s", "For a whole request head to arrive.")
    body_timeout: float = setting(
        _POSITIVE_DURATION,
        "30s",
        "Longest pause within a request body, which must also come at 1 KiB a second on average after its first 30 s "
        "(or after this time, if that is shorter). The same for callers that read a response slowly.",
    )
    keepalive_timeout: float = setting(_POSITIVE_DURATION, "75s", "How long an idle connection is kept.")
    max_connections: int = setting(
        integer(1, 1_000_000),
        1000,
        "At this many the oldest connection without a complete request head is closed. If there is none, the new one "
        "gets 503 `overloaded`. The cap in force is lower where few files may be open (`descriptors.scarce`).",
    )


class Admin(Section, frozen=True, kw_only=True):
    """The admin port: health, metrics, status."""

    host: tuple[str, ...] = setting(
        items(BIND_HOST, minimum=1, or_one=True),
        _LOOPBACK,
        "One address or several. A loopback family that the machine lacks is skipped.",
    )
    port: int | None = setting(PORT, 19090, '`0`: any free port. `"off"`: no admin port.')
    watch_hooks: bool = setting(
        BOOLEAN,
        False,
        "Look at the account's hooks every 15 minutes (`GET /hooks`): one that Mangopay does not call any more, since "
        "it is not `VALID` and `ENABLED`, is a finding, a metric and an alert. Each sidecar looks by itself: set it "
        "for one of a fleet.",
    )


class Tls(Section, frozen=True, kw_only=True):
    """TLS towards Mangopay; the CAs count for a store in Redis too. These files are read again when they change."""

    ca_file: Path | None = setting(
        PATH,
        None,
        "Trust only the CA certificates of this PEM file, an issuing CA by itself too. Unset: the system's.",
        example="/etc/mangopay-sidecar/ca.pem",
    )
    extra_ca_file: Path | None = setting(
        PATH,
        None,
        "Trust the CA certificates of this PEM file besides, an issuing CA by itself too.",
        example="/etc/mangopay-sidecar/extra-ca.pem",
    )
    client_cert_file: Path | None = setting(
        PATH,
        None,
        "Client certificate with its chain, PEM. Needs `client_key_file`.",
        example="/etc/mangopay-sidecar/client.pem",
    )
    client_key_file: Path | None = setting(
        PATH,
        None,
        "Its private key, PEM.",
        example="/etc/mangopay-sidecar/client.key",
    )
    client_key_password: Secret | None = setting(
        secret("the password of the private key", spaces=True, ascii_only=False),
        None,
        "Password of the private key.",
    )


class Token(Section, frozen=True, kw_only=True):
    """Access tokens."""

    prefetch: bool = setting(BOOLEAN, True, "Fetch a token at start-up.")
    wait_timeout: float = setting(_POSITIVE_DURATION, "10s", "How long a call waits for a token at most.")
    store: TokenStore = setting(
        TOKEN_STORE,
        "memory",
        "Who shares a token: `memory`, nobody; `file:PATH`, the sidecars of one user on a machine; "
        "`redis[s]://[user:password@]host[:port][/database]`, a fleet. A URL with a password is better given as "
        "`store_file`.",
    )


class Upstream(Section, frozen=True, kw_only=True):
    """Connections to Mangopay."""

    connect_timeout: float = setting(_POSITIVE_DURATION, "5s", "To resolve, connect and agree on TLS.")
    response_timeout: float = setting(
        _POSITIVE_DURATION,
        "60s",
        "From the request sent to the response head, and between reads of the body.",
    )
    pool_size: int = setting(
        integer(1, 10_000),
        100,
        "Connections at most. A call waits for one, then gets 503 `overloaded`.",
    )
    egress_proxy: EgressProxy | None = setting(
        EGRESS_PROXY,
        None,
        "`http://[user:pass@]host:port`, by CONNECT. Proxies of the environment (`HTTPS_PROXY` and kin) are ignored, "
        "with a warning.",
        example="http://egress.internal:3128",
    )


class Replay(Section, frozen=True, kw_only=True):
    """What is kept of requests so that they can be sent again, and what is done about duplicates."""

    max_body: int = setting(
        size(),
        "16MiB",
        "Request bodies up to this size are kept in memory. A larger one streams, and is never sent again.",
    )
    budget: int = setting(size(), "64MiB", "For all calls together. When it is used up, bodies stream or wait.")
    resolve_conflicts: bool = setting(
        BOOLEAN,
        False,
        "A POST that Mangopay refuses with 409 `idempotent_creation_conflict` gets the answer that is stored under its "
        "`Idempotency-Key`, if that is one to the same path, marked `X-Sidecar-Recovered: idempotency`. Only for apps "
        "whose keys are unique: another payment under the same key gets the answer to the first one.",
    )


class Policy(Section, frozen=True, kw_only=True):
    """What callers may do."""

    read_only: bool = setting(
        BOOLEAN,
        False,
        "Only GET and HEAD.",
    )
    allow: tuple[str, ...] = setting(
        items(POLICY_RULE, minimum=1),
        ["* /**"],
        'Rules of the shape `"METHOD /path/glob"`.',
    )
    deny: tuple[str, ...] = setting(
        items(POLICY_RULE),
        [],
        "Rules of the same shape, which win.",
    )


class Limits(Section, frozen=True, kw_only=True):
    """Mangopay's rate limits, and what of them is left to calls that cannot wait: see docs/rate-limits.md."""

    reserve: float = setting(
        SHARE,
        "0%",
        "The share of each of Mangopay's rate windows that calls of the batch lane leave to all others. `0%`: there is "
        "no batch lane, and no call is held.",
    )
    batch: tuple[str, ...] = setting(
        items(POLICY_RULE),
        [],
        'Calls of the batch lane, as rules of the shape `"METHOD /path/glob"` (those of `policy`). A call with the '
        "header `X-Sidecar-Lane: batch` is one, too.",
    )
    wait: float = setting(
        _DURATION,
        "0s",
        "How long a batch call waits for room, before it gets 429 `rate_reserved`.",
    )


class Shutdown(Section, frozen=True, kw_only=True):
    """What happens at SIGTERM."""

    delay: float = setting(
        _DURATION,
        "0s",
        "New connections are served for this long, while `/readyz` says 503 already.",
    )
    drain: float = setting(_DURATION, "25s", "Then calls in flight have this long to finish.")


class Log(Section, frozen=True, kw_only=True):
    """Logs, on stderr."""

    level: str = setting(choice("debug", "info", "warning", "error"), "info", "`debug`, `info`, `warning` or `error`.")
    format: str = setting(
        choice("json", "console", "gcp", "ecs", "auto"),
        "auto",
        "`json`, `console`, `gcp` (Google's Cloud Logging), `ecs` (Elastic Common Schema), or `auto`: console on a "
        "terminal, else json.",
    )
    requests: str = setting(
        choice("all", "errors"),
        "all",
        "`all`: a line for each call. `errors`: none for a call whose caller got a response below 400.",
    )


class Tracing(Section, frozen=True, kw_only=True):
    """Traces, by OpenTelemetry: docs/observability.md. They need the extra otel, which the image has."""

    otlp_endpoint: Endpoint | None = setting(
        COLLECTOR,
        None,
        "A collector that speaks OTLP over HTTP; `/v1/traces` is added. Plain `http://` is allowed to any host: spans "
        "hold no secret. Unset: there are no traces.",
        example="http://127.0.0.1:4318",
    )
    sample: float = setting(
        SAMPLE,
        "100%",
        "The share that is recorded of the traces that begin here. For a trace that a caller began, the flag in its "
        "`traceparent` decides.",
    )


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration, validated. Secrets are wrapped, so its repr shows none."""

    mangopay: Mangopay
    listen: Listen
    admin: Admin
    tls: Tls
    token: Token
    upstream: Upstream
    replay: Replay
    policy: Policy
    limits: Limits
    shutdown: Shutdown
    log: Log
    tracing: Tracing
    #: Which file each secret came from, by the secret's key (``"mangopay.api_key"``), to be watched.
    secret_files: Mapping[str, Path]
    #: Sentences for the log at start-up: nothing that prevents it.
    warnings: tuple[str, ...]


SECTIONS: Final[Mapping[str, type[Section]]] = {
    field.name: field.type
    for field in msgspec.structs.fields(Config)
    if isinstance(field.type, type) and issubclass(field.type, Section)
}
SETTINGS: Final[tuple[Setting, ...]] = tuple(
    entry for section, model in SECTIONS.items() for entry in declared(section, model)
)
