"""Tests against real PostgreSQL, Valkey and S3."""
