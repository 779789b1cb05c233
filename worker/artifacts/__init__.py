"""What stages leave behind: bundles, and the object store that keeps them."""
