"""Settings, endpoints, error classes, queue names and logging. Every other package may import this one."""
