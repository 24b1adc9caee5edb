"""``check``: is everything between this machine and a Mangopay token right, and if not, why not.

::

    report.py      steps, their results, and how they are written
    local.py       configuration, secret files, client certificate: no network
    running.py     a sidecar that runs already, and whether it is latched
    store.py       the store that tokens are shared through
    connecting.py  the connection, step by step: DNS, TCP or egress proxy, TLS
    peer.py        what a server shows that is not trusted, for the message
    calls.py       one token call, the clock, two harmless GETs
    examine.py     all of it, in order

What is found is judged in ``sidecar.advice.classify``, and put into words in ``sidecar.advice.texts``.
"""
