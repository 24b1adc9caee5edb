"""The configuration: a frozen model, read strictly from a TOML file and the environment."""
