"""The job queue: requests and wake-ups of producers; claims, attempts and the sweep of workers."""
