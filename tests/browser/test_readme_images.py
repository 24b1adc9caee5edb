"""The README's two pictures: a quiet evening in the light, and a lockout in the dark.

``make screenshots`` writes them; then ten minutes go by on the sidecar's clock, else a few seconds.
"""

from __future__ import annotations

import asyncio
import math
import os
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.serving import USER
from tests.support.browser import README_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.serving import Serving
    from tests.support.browser import Tab

#: The emulator's first user has this id.
USER_PATH = "/v2.01/_/users/user_m_00001001"
PATHS = (
    f"{USER_PATH}/wallets",
    USER_PATH.replace("/users", "/sca/users"),
    "/v2.01/_/events",
    f"{USER_PATH}/kyc/documents",
    f"{USER_PATH}/cards",
)
#: Bytes that a picture may have.
LARGEST = 200_000


def ten_minutes(serving: Serving, samples: int) -> None:
    """Let an app work, at a pace that goes up and down, in so many pieces of five seconds."""
    for number in range(samples):
        wave = math.sin(number / 9) + math.sin(number / 4) / 2
        delay = 0.012 + 0.008 * abs(wave) + (0.05 if number == samples * 3 // 4 else 0)
        serving.fault(f"pass answer_delay={delay:.4f} api")
        for call in range(2 + round(2 * abs(wave)) + number % 2):
            if call == 0:
                serving.call("POST", "/v2.01/_/sca/users/natural", USER)
            else:
                serving.call("GET", PATHS[(number + call) % len(PATHS)])
        serving.emulator.faults.clear()
        if number == samples - 2:
            serving.control("revoke")
        serving.clock.ahead += 5
        serving.background.run(sample(serving))


async def stop_sampling() -> None:
    """Leave the samples to this test, whose time is not the event loop's."""
    for task in asyncio.all_tasks():
        if task.get_name() == "history.sampler":
            task.cancel()


async def sample(serving: Serving) -> None:
    serving.app.sidecar._history.sample()


def test_the_readme_s_pictures(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    url = serving.start()
    serving.background.run(stop_sampling())
    ten_minutes(serving, 118 if os.environ.get(README_VARIABLE) else 4)
    tall = {"width": 1200, "height": 900}
    light = open_tab(url, viewport=tall)
    expect(light.page.locator("#calls tr").first).to_be_visible()
    expect(light.page.get_by_role("heading", name="Everything works")).to_be_visible()
    assert light.for_readme("status-light") < LARGEST
    serving.control("lockout")
    serving.control("revoke")
    serving.call("GET", PATHS[0])
    serving.call("POST", "/v2.01/_/payins/card/direct", USER)
    dark = open_tab(url, color_scheme="dark", viewport=tall)
    expect(dark.page.get_by_role("heading", name="The account is locked out")).to_be_visible()
    expect(dark.page.locator("#calls tr").first).to_contain_text("token_locked_out")
    assert dark.for_readme("status-dark") < LARGEST
