"""Draws the pictures of a small shop, tells how it went, and says what the shop's database should know."""

import sys

import nanobatch
from nanobatch.errors import NanobatchError
from nanobatch.events import Event, JobFinished

PRODUCTS = [
    {"sku": "mug-01", "product": "a white mug", "background": "oak"},
    {"sku": "hat-07", "product": "a felt hat", "background": "slate"},
    {"sku": "pen-12", "product": "a fountain pen", "background": "linen"},
]


def tell(event: Event) -> None:
    """Say which picture has come."""
    if isinstance(event, JobFinished):
        print(f"{event.record.columns['sku']}: {event.record.status}", file=sys.stderr)


def main() -> int:
    """Generate what is missing; the same call again sends nothing that is there."""
    template = "Studio photo of {product} on {background}"
    try:
        plan = nanobatch.estimate(PRODUCTS, template=template, size="2K", sandbox=True)
        print(f"{plan['to_send']} pictures for about ${plan['cost_usd']['expected']:.2f}")
        result = nanobatch.run(
            PRODUCTS,
            template=template,
            name="{sku}",
            size="2K",
            budget=5,
            out="catalogue",
            sandbox=True,  # leave this out, and set a key, for real pictures
            on_event=tell,
        )
    except NanobatchError as error:  # nothing was sent
        print(error, file=sys.stderr)
        return error.exit_code
    for record in result.records():
        print(record.columns["sku"], record.file, record.width, record.height)
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
