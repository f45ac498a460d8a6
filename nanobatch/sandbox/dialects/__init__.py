"""The wire formats, one file each. A dialect is plain data in and out; it knows no server, no time and no dice."""
