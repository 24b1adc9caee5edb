"""``reconcile``: reads logs, asks the running sidecar for stored answers, and tells what became of each write."""
