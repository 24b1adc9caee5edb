"""An authenticating reverse-proxy sidecar for the Mangopay API."""
