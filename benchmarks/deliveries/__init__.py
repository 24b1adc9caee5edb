"""A random test of deliveries: whose response, how often delivered, told what outcome.

:mod:`.plan` draws what is done from a seed, :mod:`.upstream` and :mod:`.callers` do it on
raw sockets, :mod:`.oracle` judges what both saw, :mod:`.storm` brings them together.
"""
