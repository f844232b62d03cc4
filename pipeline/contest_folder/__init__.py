"""A folder of a contest's files: what each of them is, and the preset that trains on them."""
