"""The contact sheet of a folder: one page that opens from disk, and the small pictures that it shows."""
