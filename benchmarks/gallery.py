"""The page of a large run in a real browser: first paint, search, filter, sort, scrolling, and the small pictures.

    python benchmarks/gallery.py [--images 5000] [--size 1024] [--thumbnails 200] [--rows 1000000] [--json FILE]

Needs Chromium. The images are PNG files of noise, as heavy as an image can be; each has a name of its own, so the
browser reads and decodes each. Seconds are those that a person waits: until the frame that shows the result is drawn.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from processes import ROOT

sys.path.insert(0, str(ROOT))

from nanobatch.clock import SystemClock
from nanobatch.reporters.gallery.making import write_gallery
from nanobatch.reporters.gallery.thumbnails import THUMBNAILS, Wanted, make_all
from tests.browser import Page, chromium

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> </style> \u2028 ${alert(3)}"
WORDS = re.findall(
    r"\w+", "red fox on a mossy stone in soft light beside the black teapot of an alpine kitchen at noon"
)
DISTINCT = 8
SEARCHES = ("fox", "fox kitchen", "nb-0004", "IMAGE_SAFETY", "nothing has this", "")
PAINTED = "new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))"
SCROLL = """(async () => {
  const frames = []; let last = performance.now(); const most = document.documentElement.scrollHeight - innerHeight;
  for (let number = 0; number < 180; number++) {
    window.scrollTo(0, most * (%s));
    const now = await new Promise(requestAnimationFrame); frames.push(now - last); last = now;
  }
  return frames.slice(1).sort((a, b) => a - b);
})()"""


JUMP = """(async () => {
  const began = performance.now(); window.scrollTo(0, document.documentElement.scrollHeight * %s);
  const seen = () => [...document.querySelectorAll('.open img')].filter((image) => {
    const box = image.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; });
  for (;;) {
    await new Promise(requestAnimationFrame);
    const images = seen();
    if (performance.now() - began > 90 && images.length && images.every((image) => image.complete && image.naturalWidth)) {
      await Promise.all(images.map((image) => image.decode())); return performance.now() - began;
    }
  }
})()"""


def picture(number: int, edge: int) -> bytes:
    """Draw a square of noise under a bar of colour."""
    image = Image.effect_noise((edge, edge), 80).convert("RGB")
    colour = (number * 37 % 255, number * 91 % 255, number * 53 % 255)
    ImageDraw.Draw(image).rectangle((0, 0, edge, edge // 3), fill=colour)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def line(number: int, edge: int, size: int) -> dict[str, Any]:
    """Write the record of a job; one in fifty was refused."""
    has_image = number % 50 != 7
    words = " ".join(WORDS[(number * step + step) % len(WORDS)] for step in range(1, 15))
    error = {"code": "refused", "message": "google refused the prompt: IMAGE_SAFETY", "http_status": 200}
    return {
        "job": f"{number:016x}{number:016x}", "id": f"{number:06d}-{words[:20]}", "index": number + 1, "variant": 0,
        "status": "ok" if has_image else "refused", "file": f"images/{number:06d}.png" if has_image else None,
        "sha256": f"{number:064x}", "bytes": size, "width": edge, "height": edge,
        "prompt": HOSTILE if number % 100 == 3 else words, "params": {"model": "nano-banana-pro", "size": "1K"},
        "provider": ("google", "laozhang", "kie")[number % 3], "cost_usd": 0.134, "latency_seconds": 12.5,
        "finished_at": "2026-11-28T09:00:00.000Z", "error": None if has_image else error,
        "columns": {"sku": f"NB-{number:06d}", "shelf": str(number % 40)},
    }  # fmt: skip


def folder(root: Path, rows: int, edge: int) -> list[Wanted]:
    """Make the output of a run; return what small pictures of it would be."""
    (root / "images").mkdir(parents=True)
    (root / ".nanobatch").mkdir()
    sources = []
    for number in range(DISTINCT):
        sources.append(root / f".nanobatch/{number}.png")
        sources[-1].write_bytes(picture(number, edge))
    with (root / "manifest.jsonl").open("w") as manifest:
        for number in range(rows):
            source = sources[number % DISTINCT]
            found = line(number, edge, source.stat().st_size)
            manifest.write(json.dumps(found) + "\n")
            if found["file"]:
                os.link(source, root / found["file"])
    names = [f"images/{number:06d}.png" for number in range(rows) if number % 50 != 7]
    return [Wanted(name, f".nanobatch/small/{number}.webp") for number, name in enumerate(names)]


def waited(page: Page, action: str) -> float:
    """Return the milliseconds from an action to the frame that shows what it did."""
    return float(
        page.run(
            f"(async () => {{ const began = performance.now(); {action}; await {PAINTED}; return performance.now() - began; }})()"
        )
    )


def chosen(element: str, value: str, kind: str) -> str:
    return f"const e = document.getElementById('{element}'); e.value = {json.dumps(value)}; e.dispatchEvent(new Event('{kind}', {{bubbles: true}}))"


def scrolled(root: Path) -> Iterator[tuple[str, Any]]:
    """Yield how frames follow each other while a page is scrolled, at three speeds."""
    with chromium() as browser:
        page = browser.page()
        page.open((root / "gallery.html").as_uri())
        page.wait_for("document.querySelectorAll('.open img[src]').length > 0")
        speeds = {
            f"{screens} screens in 3 s": f"0.05 + number / 180 * {screens} * innerHeight / most" for screens in (1, 8)
        }
        for name, where in (speeds | {"all of it in 3 s": "number / 180"}).items():
            frames = page.run(SCROLL % where)
            shown = [round(frames[len(frames) // 2]), round(frames[len(frames) * 95 // 100]), round(frames[-1])]
            yield (
                f"{name}: frames, ms (median, p95, worst)",
                [*shown, f"{sum(frame > 50 for frame in frames)} of {len(frames)} later than 50"],
            )


def appeared(root: Path) -> float:
    """Return the median milliseconds after which all pictures of a screen are there that nobody has seen before."""
    with chromium() as browser:
        page = browser.page()
        page.open((root / "gallery.html").as_uri())
        return statistics.median(page.run(JUMP % (number / 10)) for number in range(1, 8))


def in_browser(root: Path) -> Iterator[tuple[str, Any]]:
    """Yield what was measured on a page."""
    with chromium() as browser:
        page = browser.page()
        page.open((root / "gallery.html").as_uri())
        page.wait_for("performance.getEntriesByName('first-contentful-paint').length > 0")
        yield "first paint, ms", round(page.run("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        yield "loaded, ms", round(page.run("performance.getEntriesByType('navigation')[0].loadEventEnd"))
        yield "first search, ms", round(waited(page, chosen("words", "stone", "input")), 1)
        searches = [waited(page, chosen("words", words, "input")) for words in SEARCHES for _ in range(3)]
        yield "search, ms (median, worst)", [round(statistics.median(searches), 1), round(max(searches), 1)]
        filters = [waited(page, chosen("status", value, "change")) for value in ("refused", "ok", "") * 3]
        filters += [waited(page, chosen("provider", value, "change")) for value in ("kie", "") * 3]
        yield "filter, ms (median, worst)", [round(statistics.median(filters), 1), round(max(filters), 1)]
        sorts = [waited(page, chosen("sort", value, "change")) for value in ("prompt", "price", "sku", "input order")]
        yield "sort, ms (worst)", round(max(sorts), 1)
        page.run("document.querySelector('.open').focus()")
        for key in ("ArrowRight", "ArrowDown", "Enter", "ArrowRight", "ArrowRight", "Escape"):
            page.press(key)
        yield "arrow keys lead to", page.run("document.activeElement.getAttribute('aria-label')").partition(",")[0]
        yield "elements on the page", page.run("document.querySelectorAll('*').length")
        yield "dialogs opened by prompts", len(page.happened("Page.javascriptDialogOpening"))
        yield (
            "requests that leave the folder",
            sum(not url.startswith(root.as_uri() + "/") and not url.startswith("data:") for url in page.requests()),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--size", type=int, default=1024, help="edge in pixels")
    parser.add_argument("--thumbnails", type=int, default=200)
    parser.add_argument("--rows", type=int, default=0, help="also write the page of a run of this many rows")
    parser.add_argument("--folder", type=Path, help="where to work")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found: dict[str, Any] = {}

    def note(name: str, value: Any) -> None:
        found[name] = value
        print(f"{name}: {value}", flush=True)

    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        root = Path(place) / "run"
        wanted = folder(root, options.images, options.size)[: options.thumbnails]
        began = time.perf_counter()
        made = write_gallery(root, SystemClock(), running=False)
        note("page written, s", round(time.perf_counter() - began, 2))
        note("page, MB", round(made.size / 1e6, 2))
        for name, value in in_browser(root):
            note(name, value)
        note("a screen of originals is there, ms", round(appeared(root)))
        for name, value in scrolled(root):
            note(f"scrolling, originals, {name}", value)
        began = time.perf_counter()
        count = make_all(root, wanted, told=lambda _: None)
        note("small pictures a second", round(count / (time.perf_counter() - began), 1))
        (root / THUMBNAILS).mkdir()
        for number in range(options.images):
            if number % 50 != 7:
                os.link(root / wanted[number % DISTINCT].target, root / THUMBNAILS / f"{number:064x}.webp")
        write_gallery(root, SystemClock(), running=False)
        note("a screen of small pictures is there, ms", round(appeared(root)))
        for name, value in scrolled(root):
            note(f"scrolling, small pictures, {name}", value)
        if options.rows:
            with (root / "manifest.jsonl").open("w") as manifest:
                for number in range(options.rows):
                    manifest.write(json.dumps(line(number, options.size, 1_500_000)) + "\n")
            began = time.perf_counter()
            made = write_gallery(root, SystemClock(), running=False)
            note(f"page of {options.rows:,} rows written, s", round(time.perf_counter() - began, 2))
            note("page, MB", round(made.size / 1e6, 2))
            note("peak memory, MB", round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
