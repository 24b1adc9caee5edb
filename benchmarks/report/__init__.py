"""From samples to tables, charts and verdicts. Pure: nothing is measured here."""
