"""What all emulated resources have in common; the resources themselves are in :mod:`sidecar.emulator.resources`.

:mod:`~sidecar.emulator.engine.kinds` has the words for a type of resource and its
transitions, :mod:`~sidecar.emulator.engine.routes` those for paths,
:mod:`~sidecar.emulator.engine.acts` what a path can do without further code.
"""
