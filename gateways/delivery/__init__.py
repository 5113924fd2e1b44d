"""Results on their way to the hospital's own systems: what is owed to whom, until it is there."""
