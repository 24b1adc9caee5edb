"""The configuration: a frozen model, read strictly from a TOML file and the environment.

::

    model.py        every section and key: the one table, from which the rest is derived
    setting.py      what one key's declaration holds
    values.py       kinds of values: text, numbers, durations, sizes, lists
    addresses.py    kinds of values that name a place: hosts, URLs, stores, policy rules
    sources.py      the TOML file and the SIDECAR_* variables
    lines.py        in which line of the file a key stands, for messages
    secret_file.py  one value in a file of its own, read strictly
    places.py       directories in which others could replace a file
    checks.py       rules between keys
    errors.py       what a user is told
    loading.py      load(): all of the above, in order
    render.py       the commented example and the documentation's table
"""

from sidecar.config.addresses import EgressProxy, TokenStore
from sidecar.config.errors import ConfigError
from sidecar.config.loading import load
from sidecar.config.model import (
    Admin,
    Config,
    Listen,
    MangopayEnvironment,
    Tls,
)

__all__ = [
    "Admin",
    "Config",
    "ConfigError",
    "EgressProxy",
    "Listen",
    "MangopayEnvironment",
    "Tls",
    "TokenStore",
    "load",
]
