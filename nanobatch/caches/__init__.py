"""What earlier runs have drawn, found again by the id of a job: on this machine, or in a Redis that a team shares.

An open list: a cache is a class that keeps the promises of `base.Cache`, in a file of its own.
"""
