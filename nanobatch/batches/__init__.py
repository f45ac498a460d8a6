"""Half-price batches: images that are ordered by the file and drawn within a day.

A batch is a file of rows, one for each job, that a vendor takes, works off in its own time, and answers with another
file. What can go wrong is between these files: an order whose reply is lost, a result that is cut, rows in another
order. Here an order has a title of its own that is on disk before it is placed, and a row is known by its job's id.

    chunks    which jobs go into one batch
    wire_*    the vendor's conversation about files and batches: generators of requests, like `nanobatch.providers`
    talk      drives such a generator
    journal   what is known of every batch, on disk
    plan      the jobs of a folder, kept so that any later process can collect
    uploads   sends a file in pieces, going on after a break
    storage   objects in a bucket of Cloud Storage, for vendors whose files are the customer's own
    results   fetches a file of results and reads it row by row
    rows      lets a row that has come pass for a provider's answer
"""
