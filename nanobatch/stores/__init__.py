"""Where images live: one file per kind of place."""
