"""Labels as names, within the data or in a file beside them."""
