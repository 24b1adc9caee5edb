"""The compiled build: which modules mypyc makes native code of, what it would break in silence, how it is asked for.

Nothing of this is a part of the sidecar: it runs when a wheel is built, and in tests.
"""
