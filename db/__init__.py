"""The jobs table in Postgres. The row of a job is the only source of its state."""
