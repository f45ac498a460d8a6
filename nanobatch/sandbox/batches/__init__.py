"""Batches: a file of rows is uploaded, ordered at half the price, drawn in the vendor's own time, and downloaded.

    records    what the sandbox remembers of a file and of a batch
    shelf      keeps both on disk, so that a sandbox which is started again goes on
    lines      turns one row of a file into one line of results
    desk       takes orders within the account's limits and works them off
    uploads    receives files: Google's in pieces that resume after a break, OpenAI's as a form
    downloads  sends files, whole or from where a break left off
    doors      which path leads where

The words of each vendor are dialects, as everywhere: `dialects.gemini_batches`, `dialects.openai_batches`.
"""
