"""The emulator in a test of one's own, as docs/emulator.md shows it."""

from __future__ import annotations

import asyncio
import re
import textwrap
from pathlib import Path
from typing import Any

MANUAL = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")


async def test_the_manual_s_test_works_as_it_stands() -> None:
    """But for the app's call, which it leaves out: a plain GET."""
    found = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
    (code,) = (block for block in found if "await emulator.start" in block)

    async def call(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v2.01/acme/users HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
        writer.close()
        await writer.wait_closed()

    body = textwrap.indent(code.replace("\n...\n", "\nawait call(port)\n"), "    ")
    names: dict[str, Any] = {"call": call}
    exec(compile(f"async def shown():\n{body}", "docs/emulator.md", "exec"), names)
    await names["shown"]()
