"""Operating system services: the worker sandbox, paths, locks, logs, safe file access, shutdown."""
