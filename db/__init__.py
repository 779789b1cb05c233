"""The jobs, kept in Postgres: what is true of a job is what its row says."""
