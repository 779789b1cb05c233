"""The HTTP interface and the page: `tryon serve`. Needs the extra `api`."""
