"""The stages of a job: the table, their functions, the models they load."""
