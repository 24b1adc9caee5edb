"""One round of the benchmark with the sidecar alone, so that the harness does not rot."""

from __future__ import annotations

import http.server
import os
import random
import ssl
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pytest
import trustme

from benchmarks import upstream
from benchmarks.bench import Bench
from benchmarks.measure.cores import Cores
from benchmarks.measure.results import Results
from benchmarks.peers.sidecar import SidecarPeer
from benchmarks.report import document
from benchmarks.rounds import Plan, Rounds
from benchmarks.scenarios import calls, gain, life, start
from tests.support.sidecar import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Responses(http.server.BaseHTTPRequestHandler):
    """What the benchmark's nginx does: a token, and small answers to whoever shows it."""

    protocol_version = "HTTP/1.1"
    wrong: ClassVar[list[str]] = []

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        body = upstream.small_response().encode()
        if self.path == "/v2.01/oauth/token":
            body = f'{{"access_token": "{upstream.TOKEN}", "token_type": "Bearer", "expires_in": 3600}}'.encode()
        elif self.headers["Authorization"] != f"Bearer {upstream.TOKEN}":
            self.wrong.append(f"{self.command} {self.path}")
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    do_GET = do_POST = _answer  # noqa: N815 - named by the base class

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(directory: Path) -> Iterator[upstream.Upstream]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Responses)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield upstream.Upstream(server.server_address[1], 0, directory / "ca.pem", ())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured here in earnest, so nothing has to settle, and few callers are enough."""
    monkeypatch.setattr(life, "_SETTLE", 0.05)
    monkeypatch.setattr(start, "_SETTLE", 0.05)
    monkeypatch.setattr(life, "_LOAD", replace(life._LOAD, callers=4))
    monkeypatch.setattr(life, "IDLE_CALLERS", 20)


@contextmanager
def bench(directory: Path) -> Iterator[Bench]:
    usable = sorted(os.sched_getaffinity(0))
    with serving(directory) as server:
        yield Bench(directory, Cores(usable[0], usable[-1], usable[-1]), server, wrk=None)


def test_a_round_with_the_sidecar_alone(tmp_path: Path) -> None:
    sidecar = SidecarPeer("sidecar", COMMAND)
    results = Results(versions={"sidecar": sidecar.install(tmp_path)}, ours=["sidecar"])
    some = [each for each in calls.ALL if each.name in {"get-1", "post-1k", "new-connections"}]
    plan = Plan(1, seconds=0.1, warm_up=0.05, calls=some, gains=[10], tries=1)
    said: list[str] = []
    with bench(tmp_path) as there:
        Rounds(there, plan, [sidecar], random.Random(1), said.append, results).run()
    assert not results.failures(), said
    assert not Responses.wrong, "a call without the Bearer"
    for each in some:
        assert results.figures(each.name, "sidecar", "cpu_us")[1] > 0
        assert results.figures(each.name, "sidecar", "calls")[1] >= 1
    for scenario in (gain.name(10), "get-1"):
        for way in (gain.DIRECT, "sidecar"):
            assert results.figures(scenario, way, "p50_us")[1] > 0
    assert results.figures(start.NAME, "sidecar", "ready_ms")[1] > 0
    assert results.figures(start.NAME, start.IMPORT, "ready_ms")[1] > 0
    assert results.figures(life.NAME, "sidecar", "idle_rss_mib")[1] > 0
    assert "### Targets" in document.sections(results, ".")["Results"]


def test_a_peer_that_dies_is_reported_and_does_not_end_the_run(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no luck today >&2\nexit 3\n")
    broken.chmod(0o755)
    results = Results()
    plan = Plan(1, seconds=0.1, warm_up=0, calls=[calls.ALL[1]], life=False, start=False, gains=(), tries=1)
    peers = [SidecarPeer("broken", broken), SidecarPeer("sidecar", COMMAND)]
    with bench(tmp_path) as there:
        Rounds(there, plan, peers, random.Random(1), lambda _: None, results).run()
    [failed] = results.failures()
    assert (failed.peer, failed.failure) == ("broken", "broken ended with 3: no luck today")
    assert results.figures("get-4", "sidecar", "calls")[1] > 0
