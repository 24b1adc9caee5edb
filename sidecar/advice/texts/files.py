"""What can be wrong with the configuration, its files and the client certificate."""

from __future__ import annotations

from typing import Final

from sidecar.advice.texts import Diagnosis
from sidecar.core.causes import Cause

#: For a certificate that has ended, or soon will.
NEW_CERTIFICATE: Final = (
    "get a new certificate from Mangopay's Dashboard (mangopay-sidecar csr makes the request for it) and put it in the "
    "place of the old one; a running sidecar needs no restart"
)
_CHECK_FILE: Final = "check the path, the mount and the file's owner and mode, as the user that runs the sidecar"

#: By cause.
DIAGNOSES: Final = {
    Cause.CONFIG_UNUSABLE: Diagnosis(
        "a key, variable or value that the sidecar does not understand, or one that is missing",
        "do what the message says; mangopay-sidecar init writes a file with every key",
    ),
    Cause.CONFIG_WARNING: Diagnosis(
        "something that the sidecar ignores, or a setting or place that is risky or does nothing as it is",
        "do what the message says, or leave it if it is meant so",
    ),
    Cause.SECRET_FILE_UNREADABLE: Diagnosis(
        "the secret is not mounted, its file has another name, or this user may not read it",
        _CHECK_FILE,
    ),
    Cause.SECRET_WORLD_READABLE: Diagnosis(
        "the file's mode lets every user of this machine read the secret",
        "chmod o-r the file; in Kubernetes set defaultMode to 0440 with fsGroup",
    ),
    Cause.TLS_FILE_UNREADABLE: Diagnosis(
        "a file of section [tls] is not there, or this user may not read it",
        _CHECK_FILE,
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
        "check SIDECAR_TLS_CLIENT_KEY_PASSWORD_FILE or SIDECAR_TLS_CLIENT_KEY_PASSWORD; openssl pkey -in KEY tries one",
    ),
    Cause.CLIENT_KEY_MISMATCH: Diagnosis(
        "certificate and key are of two pairs: the key of an earlier signing request, or the chain comes first",
        "name the key that the signing request was made with, and put the certificate before its chain",
    ),
    Cause.CLIENT_CERTIFICATE_EXPIRED: Diagnosis("the client certificate was not renewed in time", NEW_CERTIFICATE),
    Cause.CLIENT_CERTIFICATE_EXPIRING: Diagnosis("the client certificate expires soon", NEW_CERTIFICATE),
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
}
