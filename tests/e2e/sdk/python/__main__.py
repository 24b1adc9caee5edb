"""``python -m tests.e2e.sdk.python``: the app, with everything that it can do."""

from tests.e2e.sdk.python import driver, resources

__all__ = ["resources"]

driver.main()
