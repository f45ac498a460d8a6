"""nanobatch turns a file of prompts into images, through whichever provider's quota allows it."""

__version__ = "0.3.0"
