"""A request whose every delivery names its own span upstream (W3C Trace Context)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.http.headers import RequestTemplate

if TYPE_CHECKING:
    from sidecar.core.http.trace_context import CallTrace


class TracedTemplate(RequestTemplate):
    """A head that ends with the ``traceparent`` of the attempt that it is rendered for."""

    __slots__ = ("_trace",)

    def __init__(self, template: RequestTemplate, trace: CallTrace) -> None:
        """``template`` has no ``traceparent`` of its own."""
        super().__init__(template._head)
        self._trace = trace

    def render(self, token: str) -> bytes:
        """As :meth:`RequestTemplate.render`; each time it is asked, another attempt begins."""
        head = super().render(token)
        return b"%btraceparent: %b\r\n\r\n" % (head[:-2], self._trace.next_attempt().encode())
