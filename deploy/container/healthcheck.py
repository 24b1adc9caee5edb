"""The image's health check: exits with 0 if the admin port's /healthz is 200, with 1 and a line if it is not.

It runs every few seconds for as long as the container lives, so it starts as
little of Python as there is: ``python -I -S``, no HTTP library, and of sockets
only the C module, since what is around that costs as much as the interpreter.
It reads the address as the sidecar does, from SIDECAR_ADMIN_HOST and
SIDECAR_ADMIN_PORT, else from the file that SIDECAR_CONFIG names. A file given
as ``--config`` it cannot know: use SIDECAR_CONFIG in containers.
"""

import os
import sys
from _socket import AF_INET, AF_INET6, SOCK_STREAM, socket

#: Seconds for each address to answer; the answer comes from memory.
_PATIENCE = 1.5
#: Where a listener on every address is reached from here.
_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def admin_address(environ: "os._Environ[str]") -> tuple[list[str], str]:
    """Return the hosts and the port of the admin listener, as configured."""
    given, port, path = (environ.get(f"SIDECAR_{name}") for name in ("ADMIN_HOST", "ADMIN_PORT", "CONFIG"))
    hosts: list[str] | str = given.split(",") if given else ["127.0.0.1", "::1"]
    if path and not (given and port):
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes as long to load as all the rest
            content = file.read()
        if b"admin" in content:  # so does the TOML parser
            import tomllib

            section = tomllib.loads(content.decode()).get("admin", {})
            hosts = hosts if given else section.get("host", hosts)
            port = port or str(section.get("port", ""))
    listed = [hosts] if isinstance(hosts, str) else hosts
    return [_reached_by(host) for host in listed], port or "19090"


def _reached_by(host: str) -> str:
    """Return the address that reaches a listener on ``host``, which may be in brackets, as in a URL."""
    bare = host.strip()
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    return _HERE.get(bare, bare)


def is_healthy(host: str, port: int) -> bool:
    """Tell whether ``GET /healthz`` there is answered with 200."""
    connection = socket(AF_INET6 if ":" in host else AF_INET, SOCK_STREAM)
    connection.settimeout(_PATIENCE)
    connection.connect((host, port))
    connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    answer = b""
    while len(answer) < 12 and (more := connection.recv(64)):
        answer += more
    connection.close()
    return answer.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))


def main() -> str | None:
    """Return what is wrong, or None."""
    hosts, port = admin_address(os.environ)
    if port == "off":
        return None  # nothing can be asked; that the process lives is all there is to know
    if port == "0":
        return "admin.port is 0, so any free one, and cannot be asked: set SIDECAR_ADMIN_PORT to a port"
    for host in hosts:
        try:
            if is_healthy(host, int(port)):
                return None
        except (OSError, ValueError):
            continue
    return f"no sidecar answers on admin port {port} of {', '.join(hosts)}"


if __name__ == "__main__":
    sys.exit(main())
