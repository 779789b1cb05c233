"""PostgreSQL, Valkey and an S3 store as child processes, from wheels, in one data folder."""
