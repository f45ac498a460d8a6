"""The sandbox: a local server that speaks the providers' wire formats, so that a run costs nothing.

It is a second witness: it shares no code with the client, enforces limits with counters of its own, breaks on purpose
where it is told to, and keeps books of every image that a vendor would have billed.

    python -m nanobatch.sandbox --rpm 60 --fault 503=0.1

A request passes `server` (routes) and `creation` (its journey), which asks a dialect what is wanted, `limits` whether
it may pass, `faults` what goes wrong and `images` for the pictures, writes the bill into `books`, and hands the
answer to `delivery`.
"""
