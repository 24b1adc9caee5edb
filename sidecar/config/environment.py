"""The variables ``SIDECAR_<SECTION>_<KEY>``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.config.errors import ConfigError, nearest, shown
from sidecar.config.given import SPELLINGS, Given, add

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = "SIDECAR_"
#: Names the configuration file; all other variables are keys.
CONFIG: Final = "SIDECAR_CONFIG"

_VARIABLES: Final = {f"{PREFIX}{name.replace('.', '_')}".upper(): spelling for name, spelling in SPELLINGS.items()}

# What Kubernetes sets in every container for a Service whose name begins with "sidecar": its own
# SIDECAR_[…_]SERVICE_HOST, _SERVICE_PORT and _SERVICE_PORT_<NAME>, and after Docker's links _PORT=tcp://… and
# _PORT_<n>_<PROTOCOL> with _PROTO, _PORT and _ADDR.
_LINK_NAME: Final = (
    r"SIDECAR(?:_[A-Z0-9_]+)?_"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_LINK_VALUE: Final = ("tcp://", "udp://", "sctp://")
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def read_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return what the variables give, by setting; empty ones count as unset.

    Raises ConfigError for a ``SIDECAR_*`` variable that is neither a key's nor a Kubernetes service link.
    """
    found: dict[str, Given] = {}
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        text = environ[variable]
        if not text or variable == CONFIG or is_service_link(variable, text):
            continue
        if variable not in _VARIABLES:
            mend = f"the nearest is {nearest(variable, [*_VARIABLES, CONFIG])}"
            raise ConfigError(shown(variable), "is no variable of the sidecar", mend)
        setting, is_twin = _VARIABLES[variable]
        add(found, Given(setting, text, variable, Path(), is_text=True, is_twin=is_twin))
    return found


def is_service_link(variable: str, text: str) -> bool:
    """Tell whether Kubernetes injects a variable of this shape for some Service.

    A Service called ``sidecar-listen`` makes ``SIDECAR_LISTEN_PORT=tcp://…``, which is no port of ours.
    """
    if variable.endswith("_PORT") and text.lower().startswith(_LINK_VALUE):
        return True
    return variable not in _VARIABLES and re.fullmatch(_LINK_NAME, variable) is not None


def environment_warnings(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each thing in ``environ`` that somebody may have meant for us, and that is ignored."""
    for variable in sorted(_VARIABLES.keys() & environ.keys()):
        if is_service_link(variable, environ[variable]):
            yield (
                f"{variable} holds a Kubernetes service link and is ignored: rename the Service, or set "
                "enableServiceLinks: false"
            )
    proxies = [name for base in _PROXIES for name in (base, base.lower()) if environ.get(name)]
    if proxies:
        yield f"{', '.join(proxies)} set in the environment: ignored, set upstream.egress_proxy to use a proxy"
