"""What can be wrong between this machine and Mangopay: names, connections, the egress proxy, TLS."""

from __future__ import annotations

from typing import Final

from sidecar.advice.texts import Diagnosis
from sidecar.core.causes import Cause

_CLOCK: Final = "set this machine's clock by NTP, then look whether the server's certificate is still at fault"

#: By cause.
DIAGNOSES: Final = {
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
    Cause.EGRESS_REFUSED: Diagnosis("the egress proxy opens no tunnel, or says nothing", "look at the proxy's own log"),
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
    Cause.TLS_SERVER_EXPIRED: Diagnosis("the server's certificate has ended, or this machine's clock is ahead", _CLOCK),
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
}
