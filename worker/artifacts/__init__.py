"""The output of stages: bundles, and the object store in which they are kept."""
