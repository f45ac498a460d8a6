"""Tells whether two prompts ask for the same picture in other words: a reading decides, an embedding ranks."""
