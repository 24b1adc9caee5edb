"""What an app's own tests have of the emulator and of the sidecar: the types of the pytest fixtures (docs/testing.md).

Nothing here needs pytest or an event loop, and nothing that serves imports it.
"""

from __future__ import annotations

from sidecar.testing.control import EmulatorError
from sidecar.testing.emulator import MangopayEmulator
from sidecar.testing.records import Delivery, Fault, Ledger, Write
from sidecar.testing.sidecar import MangopaySidecar

__all__ = ["Delivery", "EmulatorError", "Fault", "Ledger", "MangopayEmulator", "MangopaySidecar", "Write"]
