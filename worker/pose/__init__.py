"""Where a person's joints, hands and outline are."""
