"""A scriptable Mangopay, for demos and tests.

What Mangopay does is decided in plain, synchronous code without sockets
(:mod:`~sidecar.emulator.api` and what it uses); :mod:`~sidecar.emulator.faults`
says what goes wrong, by the rules of :mod:`~sidecar.emulator.fault_rules`;
:mod:`~sidecar.emulator.wire` puts a response into bytes, and :mod:`~sidecar.emulator.server`
listens. docs/emulator.md is the manual.
"""
