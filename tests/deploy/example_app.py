"""The example's app (deploy/example-app), run as a deployment would run it, and used."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

#: Who becomes another user can read no more modules: all that the app needs are loaded before.
_RUN = """
import base64, encodings.idna, http.client, http.server, json, os, pathlib, signal, socket, sys, threading, uuid
import urllib.parse
program, user, group = sys.argv[1:]
with open(program) as file:
    source = compile(file.read(), "app.py", "exec")
if user:
    os.setgroups([int(group)]); os.setgid(int(user)); os.setuid(int(user))
sys.argv[:] = [program]
exec(source, {"__name__": "__main__"})
"""


@contextmanager
def running(
    program: Path, environ: Mapping[str, str], *, as_user: int | None = None, group: int | None = None
) -> Iterator[int]:
    """Run the app with its own variables, as ``as_user`` in ``group`` besides (root only); give its port."""
    port = free_port()
    command: list[str | Path] = [sys.executable, "-c", _RUN, program, str(as_user or ""), str(group or "")]
    environ = {**environ, "HOST": "127.0.0.1", "PORT": str(port)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"app at port {port}\n".encode()
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def ask(port: int, method: str = "GET") -> tuple[int, Any]:
    """Ask the app's page; return the status and what it says."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, "/")
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def works(port: int) -> None:
    """Have the app make a user, and find it again."""
    code, made = ask(port, "POST")
    assert code == 200, made
    code, listed = ask(port)
    assert code == 200, listed
    assert made["Id"] in {user["Id"] for user in listed}


def until(condition: Callable[[], bool]) -> None:
    """Wait; the test fails by its own time limit."""
    while not condition():
        time.sleep(0.05)
