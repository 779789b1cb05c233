"""The soak: many jobs while workers, servers and messages are broken on purpose."""
