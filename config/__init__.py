"""Settings, endpoints, queue names and logging: what every other room may read."""
