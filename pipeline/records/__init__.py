"""Files that several rooms read, as frozen dataclasses: ensemble.json and a bundle's manifest."""
