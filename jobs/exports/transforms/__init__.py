"""From a view to the rows of an export."""
