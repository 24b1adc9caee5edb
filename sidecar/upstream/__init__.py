"""The way to Mangopay: connections that know what was sent on them."""
