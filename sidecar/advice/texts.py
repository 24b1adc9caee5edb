"""The likely cause behind each failure that ``check`` can find, and its mend, in plain words."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.core.causes import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping


class Diagnosis(NamedTuple):
    """What is likely behind a failure, and what to do; each without a full stop."""

    cause: str
    mend: str


#: What Mangopay wants of an API key that reads stored responses (``GET …/responses/{key}``).
READ_BACK_SCOPE: Final = "Client.Developers (READ)"
_NEW_CERTIFICATE: Final = (
    "get a new certificate from Mangopay's Dashboard; mangopay-sidecar csr makes the request for it"
)
_CLOCK: Final = "set this machine's clock by NTP, then look whether the server's certificate is still at fault"

#: Every cause in words.
DIAGNOSES: Final[Mapping[Cause, Diagnosis]] = MappingProxyType(
    {
        # --- configuration and files
        Cause.CONFIG_UNUSABLE: Diagnosis(
            "a key, variable or value that the sidecar does not understand, or one that is missing",
            "do what the message says; mangopay-sidecar init writes a file with every key",
        ),
        Cause.CONFIG_WARNING: Diagnosis(
            "the environment has something that the sidecar ignores on purpose",
            "do what the message says, or leave it if it is meant for other programs",
        ),
        Cause.SECRET_FILE_UNREADABLE: Diagnosis(
            "the secret is not mounted, its file has another name, or this user may not read it",
            "check the path, the mount and the file's owner and mode, as the user that runs the sidecar",
        ),
        Cause.SECRET_WORLD_READABLE: Diagnosis(
            "the file's mode lets every user of this machine read the secret",
            "chmod o-r the file; in Kubernetes set defaultMode to 0440 with fsGroup",
        ),
        Cause.TLS_FILE_UNREADABLE: Diagnosis(
            "a file of section [tls] is not there, or this user may not read it",
            "check the path, the mount and the file's owner and mode, as the user that runs the sidecar",
        ),
        Cause.TLS_FILE_NO_CERTIFICATE: Diagnosis(
            "the file is something else than certificates in PEM: DER, a PKCS #12 bundle, a key, a signing request",
            "convert it to PEM with openssl x509 -inform DER, or openssl pkcs12 -nokeys",
        ),
        Cause.CLIENT_KEY_MISSING: Diagnosis(
            "the file named as the client certificate's key holds no private key in PEM",
            "name the .key file that mangopay-sidecar csr, or openssl, made together with the signing request",
        ),
        Cause.CLIENT_KEY_ENCRYPTED: Diagnosis(
            "the private key is protected by a password, and none is set",
            "set SIDECAR_TLS_CLIENT_KEY_PASSWORD_FILE",
        ),
        Cause.CLIENT_KEY_PASSWORD: Diagnosis(
            "the password set is not that of this private key",
            "check the file that SIDECAR_TLS_CLIENT_KEY_PASSWORD_FILE names; openssl pkey -in KEY tries a password",
        ),
        Cause.CLIENT_KEY_MISMATCH: Diagnosis(
            "certificate and key are of two pairs: the key of an earlier signing request, or the chain comes first",
            "name the key that the signing request was made with, and put the certificate before its chain",
        ),
        Cause.CLIENT_CERTIFICATE_EXPIRED: Diagnosis("the client certificate was not renewed in time", _NEW_CERTIFICATE),
        Cause.CLIENT_CERTIFICATE_EXPIRING: Diagnosis("the client certificate ends soon", _NEW_CERTIFICATE),
        Cause.CLIENT_CERTIFICATE_NOT_YET_VALID: Diagnosis(
            "this machine's clock is behind, or the certificate was made for later", "set this machine's clock by NTP"
        ),
        Cause.CLIENT_CERTIFICATE_UNUSABLE: Diagnosis(
            "OpenSSL cannot use the client certificate or its key",
            "they must be a PEM certificate with its chain, and an RSA or EC key in PEM",
        ),
        Cause.CLIENT_CERTIFICATE_WRONG_HOST: Diagnosis(
            "mangopay.base_url and the client certificate do not fit: Mangopay's api-mtls hosts want a certificate, "
            "its other hosts never look at one",
            "leave SIDECAR_MANGOPAY_BASE_URL unset, and the sidecar takes the host that fits",
        ),
        Cause.CLIENT_CERTIFICATE_REQUIRED: Diagnosis(
            "the server demands a client certificate (mTLS), and none is set",
            "set SIDECAR_TLS_CLIENT_CERT_FILE and SIDECAR_TLS_CLIENT_KEY_FILE",
        ),
        Cause.CLIENT_CERTIFICATE_REFUSED: Diagnosis(
            "the server does not accept the client certificate: of the other environment, revoked, expired, "
            "or without its chain",
            "use the certificate that Mangopay's Dashboard gave for this environment and ClientId",
        ),
        # --- a running sidecar
        Cause.SIDECAR_LATCHED_LOCKOUT: Diagnosis(
            "Mangopay has locked the account for a while, after attempts with wrong credentials",
            "find who used a wrong key, and wait; the sidecar tries again by itself. --force makes a token call now",
        ),
        Cause.SIDECAR_LATCHED_REFUSED: Diagnosis(
            "Mangopay refused a running sidecar's credentials, and more attempts could lock the account",
            "mend the key or certificate in its file, and the running sidecar takes it up by itself; "
            "--force makes one token call now",
        ),
        # --- the token store
        Cause.STORE_UNUSABLE: Diagnosis(
            "token.store names a place where no store can be, or a package that it needs is not installed",
            "do what the message says",
        ),
        Cause.STORE_UNREACHABLE: Diagnosis(
            "the token store does not run at that address, is overloaded, or a firewall stands before it; calls go on, "
            "with a token for each sidecar",
            "check host and port in SIDECAR_TOKEN_STORE, and that the server runs and is not paged out",
        ),
        Cause.STORE_NOT_TRUSTED: Diagnosis(
            "the token store's certificate is issued by somebody whom this machine does not trust, or for another "
            "name; or only one side speaks TLS",
            "name its CA in SIDECAR_TLS_EXTRA_CA_FILE or in the URL (rediss://HOST?ssl_ca_certs=FILE); use rediss:// "
            "only where the server speaks TLS",
        ),
        Cause.STORE_REFUSED: Diagnosis(
            "this user may not use the token store: a wrong user or password, an ACL that allows too little, or the "
            "mode of a directory or file",
            "check SIDECAR_TOKEN_STORE_FILE; docs/scale.md has the least that a Redis user or a directory needs",
        ),
        Cause.STORE_NOT_WRITABLE: Diagnosis(
            "the token store can be reached, but takes nothing: full, a replica, a cluster, or a disk in trouble",
            "make room (maxmemory, the disk), or name the primary",
        ),
        Cause.STORE_NOT_OURS: Diagnosis(
            "what lies in the token store is nothing that a sidecar of this user wrote",
            "name another place in SIDECAR_TOKEN_STORE, or look who else writes there",
        ),
        # --- the way to Mangopay
        Cause.UNKNOWN_HOST: Diagnosis(
            "the host name does not exist for this machine's resolver: mistyped, or a private DNS zone",
            "check SIDECAR_MANGOPAY_BASE_URL and the resolver (/etc/resolv.conf; in Kubernetes the dnsPolicy)",
        ),
        Cause.RESOLVER_UNREACHABLE: Diagnosis(
            "the resolver did not answer: no network, a wrong resolver, or a policy that blocks DNS",
            "check /etc/resolv.conf and that port 53 is open from here",
        ),
        Cause.EGRESS_UNKNOWN_HOST: Diagnosis(
            "the egress proxy's host name does not exist for this machine's resolver",
            "check the host in SIDECAR_UPSTREAM_EGRESS_PROXY",
        ),
        Cause.CONNECTION_REFUSED: Diagnosis(
            "nothing listens at that address and port, or a firewall answers in its place",
            "check host and port of SIDECAR_MANGOPAY_BASE_URL, and the firewall",
        ),
        Cause.CONNECT_TIMEOUT: Diagnosis(
            "a firewall or security group drops the packets in silence",
            "allow outgoing TCP to this host and port, or set SIDECAR_UPSTREAM_EGRESS_PROXY if there is a proxy",
        ),
        Cause.NETWORK_UNREACHABLE: Diagnosis(
            "this machine has no route to the address: no network, or IPv6 without a gateway",
            "check the routes of this machine, container or pod",
        ),
        Cause.EGRESS_UNREACHABLE: Diagnosis(
            "the egress proxy does not run at that address, or a firewall stands before it",
            "check host and port in SIDECAR_UPSTREAM_EGRESS_PROXY, and that the proxy runs",
        ),
        Cause.EGRESS_CREDENTIALS: Diagnosis(
            "the egress proxy wants a user and password, or others",
            "set http://user:pass@host:port in SIDECAR_UPSTREAM_EGRESS_PROXY, special characters percent-encoded",
        ),
        Cause.EGRESS_AUTHENTICATION: Diagnosis(
            "the egress proxy wants NTLM, Kerberos or Digest authentication, and the sidecar knows Basic only",
            "have the proxy take Basic, or this machine's address, or name a local proxy that authenticates to it "
            "(cntlm, px)",
        ),
        Cause.EGRESS_FORBIDDEN: Diagnosis(
            "the egress proxy does not allow this destination",
            "add Mangopay's host and port 443 to the proxy's allow-list",
        ),
        Cause.EGRESS_CANNOT_REACH: Diagnosis(
            "the egress proxy cannot reach Mangopay itself: its DNS, its firewall, or its load",
            "look at the proxy's own log",
        ),
        Cause.EGRESS_NO_PROXY: Diagnosis(
            "what answers there is no HTTP forward proxy, or does not offer CONNECT",
            "check host and port in SIDECAR_UPSTREAM_EGRESS_PROXY: a proxy's port, spoken to in plain HTTP",
        ),
        Cause.EGRESS_REFUSED: Diagnosis(
            "the egress proxy opens no tunnel, or says nothing", "look at the proxy's own log"
        ),
        # --- TLS
        Cause.TLS_UNKNOWN_ISSUER: Diagnosis(
            "the server's certificate is issued by somebody whom this machine does not trust: most often a proxy that "
            "intercepts TLS",
            "if the issuer named is your company's, name its certificate in SIDECAR_TLS_EXTRA_CA_FILE, issuing CA or "
            "root; else do not go on, and look who is in between",
        ),
        Cause.TLS_WRONG_NAME: Diagnosis(
            "the server is somebody else than the one meant: a wrong base URL, DNS entry or load balancer",
            "check SIDECAR_MANGOPAY_BASE_URL and what its name resolves to",
        ),
        Cause.TLS_SERVER_EXPIRED: Diagnosis(
            "the server's certificate has ended, or this machine's clock is ahead", _CLOCK
        ),
        Cause.TLS_SERVER_NOT_YET_VALID: Diagnosis("this machine's clock is behind", _CLOCK),
        Cause.TLS_CERTIFICATE_REFUSED: Diagnosis(
            "the server's certificate, or one of its chain, breaks a rule of OpenSSL's",
            "look at it with openssl s_client -connect HOST:PORT -showcerts",
        ),
        Cause.TLS_NOT_SPOKEN: Diagnosis(
            "the port speaks plain HTTP, or something else than TLS",
            "check scheme and port of SIDECAR_MANGOPAY_BASE_URL",
        ),
        Cause.TLS_VERSION: Diagnosis(
            "the server, or a proxy that intercepts TLS, is older than TLS 1.2", "renew it: older versions are unsafe"
        ),
        Cause.TLS_REFUSED: Diagnosis(
            "the server ended the TLS handshake: it wants a client certificate, or shares no cipher with this machine",
            "if mTLS is on for your platform, set SIDECAR_TLS_CLIENT_CERT_FILE and SIDECAR_TLS_CLIENT_KEY_FILE",
        ),
        Cause.TLS_CUT: Diagnosis(
            "the connection was closed in the middle of the TLS handshake: by a firewall that reads host names, or by "
            "a server that wants another client certificate, or one at all",
            "allow the host in the firewall; check the keys of section [tls], and SIDECAR_MANGOPAY_BASE_URL",
        ),
        Cause.TLS_TIMEOUT: Diagnosis(
            "the server accepted the connection and then said nothing: an overloaded or half-open middlebox",
            "try again; if it stays, look at the firewalls and load balancers in between",
        ),
        # --- the token call
        Cause.WRONG_KEY: Diagnosis(
            "the API key or ClientId is wrong, or the key is that of the other environment",
            "compare SIDECAR_MANGOPAY_CLIENT_ID, the key and SIDECAR_MANGOPAY_ENVIRONMENT with Mangopay's Dashboard; "
            "do not try keys in a row, or the account gets locked",
        ),
        Cause.LOCKED_OUT: Diagnosis(
            "Mangopay has locked the account for a while, after attempts with wrong credentials",
            "stop whatever uses a wrong key, wait some minutes, and check again once only",
        ),
        Cause.ADDRESS_NOT_ALLOWED: Diagnosis(
            "the address that calls come from is not on Mangopay's IP allow-list for this ClientId",
            "add it in Mangopay's Dashboard, or leave by a listed address: SIDECAR_UPSTREAM_EGRESS_PROXY",
        ),
        Cause.TOKEN_REQUEST_REFUSED: Diagnosis(
            "Mangopay's token endpoint, or what answers in its place, refuses the request for a reason of its own",
            "check SIDECAR_MANGOPAY_BASE_URL and its path prefix",
        ),
        Cause.TOKEN_NOT_UNDERSTOOD: Diagnosis(
            "something else answers in Mangopay's place: a captive portal, a gateway's page, a wrong base URL",
            "check SIDECAR_MANGOPAY_BASE_URL, and what stands between this machine and Mangopay",
        ),
        Cause.EDGE_PAGE: Diagnosis(
            "the edge before Mangopay (Cloudflare), or a gateway, answered with a web page: it says nothing of the "
            "key, and may concern the address that calls come from",
            "try again in some minutes; if it stays, give Mangopay's support the CF-Ray, the time and the address that "
            "calls leave by",
        ),
        Cause.REDIRECTED: Diagnosis(
            "the base URL is not where the API lives; redirects are never followed, as they would carry credentials",
            "check SIDECAR_MANGOPAY_BASE_URL: host, https://, path prefix",
        ),
        Cause.RATE_LIMITED: Diagnosis(
            "too many calls from this platform", "wait, and look for programs that fetch tokens by themselves"
        ),
        Cause.SERVER_ERROR: Diagnosis(
            "Mangopay, or a gateway before it, is in trouble", "try again later, and look at Mangopay's status page"
        ),
        Cause.NO_ANSWER: Diagnosis(
            "the connection stands, but no answer came in time", "try again; look at Mangopay's status page"
        ),
        Cause.CONNECTION_LOST: Diagnosis(
            "the connection was closed before the answer: a middlebox, or a server that does not want this request",
            "try again; if it stays, look at the firewalls and proxies in between",
        ),
        Cause.ANSWER_BROKEN: Diagnosis(
            "the answer is not HTTP as it should be: a middlebox, or a wrong port",
            "check host and port of SIDECAR_MANGOPAY_BASE_URL",
        ),
        Cause.CLOCK_SKEW: Diagnosis("this machine's clock is not kept", "set it by NTP (chrony, systemd-timesyncd)"),
        # --- the harmless GET
        Cause.CALL_UNAUTHORIZED: Diagnosis(
            "the token is accepted nowhere: the key is of another kind (embedded), or of another ClientId",
            "use the main API key of SIDECAR_MANGOPAY_CLIENT_ID",
        ),
        Cause.CALL_FORBIDDEN: Diagnosis(
            "the key may not read its own platform's data (scope or permission), or the address is not on Mangopay's "
            "IP allow-list",
            "look at the key's permissions and the IP allow-list in Mangopay's Dashboard",
        ),
        Cause.CALL_NOT_FOUND: Diagnosis(
            "no such ClientId at this base URL", "check SIDECAR_MANGOPAY_CLIENT_ID and SIDECAR_MANGOPAY_BASE_URL"
        ),
        Cause.CALL_REFUSED: Diagnosis(
            "the token is good, but a call with it is refused for a reason that its status tells",
            "look the status up in Mangopay's documentation",
        ),
        Cause.READ_BACK_FORBIDDEN: Diagnosis(
            f"the API key lacks the scope {READ_BACK_SCOPE}, so that lost answers to keyed POSTs cannot be read back, "
            "and end as unknown",
            f"make a new key with {READ_BACK_SCOPE} in Mangopay's Dashboard: the scopes of a key cannot be changed",
        ),
    }
)
