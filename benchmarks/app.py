"""An app of the kind that opens a new connection for each call, as PHP does in each request that it serves.

``python -m benchmarks.app URL CALLS [CA_FILE]`` makes calls one after another, each
on a connection of its own, and prints what each took, as JSON: microseconds of time, and of
CPU of the app itself. Its TLS context is made once, which favours the direct way:
an app that makes it anew for each call also reads the CA file each time.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import time
from urllib.parse import urlsplit


def main(url: str, calls: str, ca_file: str | None = None) -> None:
    """Run the command line. The token, if one is to be sent, is in ``BENCH_TOKEN``."""
    parts = urlsplit(url)
    token = os.environ.get("BENCH_TOKEN")
    headers = {"Accept": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    context = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
    took = []
    used = 0.0
    for number in range(int(calls) + 1):
        if number == 1:
            used = time.process_time()  # the call before was the warm-up
        begun = time.perf_counter()
        connection = (
            http.client.HTTPConnection(parts.netloc, timeout=20)
            if context is None
            else http.client.HTTPSConnection(parts.netloc, timeout=20, context=context)
        )
        connection.request("GET", parts.path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        took.append((time.perf_counter() - begun) * 1e6)
        if response.status != 200 or not body:
            sys.exit(f"status {response.status}")
    print(json.dumps({"took_us": took[1:], "cpu_us": (time.process_time() - used) * 1e6 / int(calls)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
