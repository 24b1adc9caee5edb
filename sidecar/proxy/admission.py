"""What decides whether and where a request goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from sidecar.core.admission.caller import Callers
    from sidecar.core.admission.guard import GuardRules
    from sidecar.core.admission.policy import Policy
    from sidecar.core.client_id import ClientIdRules
    from sidecar.core.endpoint import Endpoint
    from sidecar.proxy.batch_lane import BatchLane


class Admission(msgspec.Struct, frozen=True):
    """Everything that decides whether and where a request goes, before a byte of it is forwarded."""

    guard: GuardRules
    #: The rules for the Unix socket, which no browser reaches.
    unix_guard: GuardRules
    client_ids: ClientIdRules
    callers: Callers
    policy: Policy
    endpoint: Endpoint
    #: Who holds batch calls; None: nobody does (``limits.reserve`` is 0%).
    batch: BatchLane | None = None
