"""The admin port: health, metrics and status. Nothing here changes anything."""
