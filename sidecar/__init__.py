"""An authenticating reverse-proxy sidecar for the Mangopay API."""

#: Whose this package is: PyPI has another one called ``sidecar`` (``mangopay_sidecar.py`` looks).
DISTRIBUTION = "mangopay-sidecar"
