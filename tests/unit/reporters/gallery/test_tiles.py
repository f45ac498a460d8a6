"""What a page shows of each job: bounded, cut, and without anything that opens a door."""

from __future__ import annotations

import fnmatch
import json
import shlex
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import ConfigError
from nanobatch.reporters.gallery import tiles
from nanobatch.reporters.gallery.thumbnails import ABOVE_BYTES, THUMBNAILS
from nanobatch.reporters.gallery.tiles import PROMPT_CHARACTERS, VALUE_CHARACTERS, Tiles, shareable, url_of
from tests.gallery_folder import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "out")


def read(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(tile) for tile in Tiles(desk.root)]


def test_every_status_has_a_tile(desk: Desk) -> None:
    """Those without an image say why, and how a shell names them."""
    for status in ("ok", "cached", "refused", "failed", "unfinished"):
        desk.record(status)
    found = Tiles(desk.root)
    shown = [json.loads(tile) for tile in found]
    assert [tile["status"] for tile in shown] == ["ok", "cached", "refused", "failed", "unfinished"]
    assert (found.images, found.others, found.left_out) == (2, 3, 0)
    assert shown[0]["url"] == "images/row-1.png"
    assert shown[2]["reason"] == "refused for a reason"
    assert (shown[2]["only"], "url" in shown[2]) == ("row-3", False)


def test_columns_are_texts_and_empty_ones_are_left_out(desk: Desk) -> None:
    """Numbers, lists and nothing at all, as a JSON input may hold them."""
    desk.record(columns={"sku": "A-1", "price": 12, "tags": ["a", "b"], "none": None, "empty": "", "": "x"})
    assert read(desk)[0]["columns"] == {"sku": "A-1", "price": "12", "tags": '["a","b"]', "": "x"}


def test_of_each_job_the_newest_line_counts(desk: Desk) -> None:
    """It failed, was sent again, and is there."""
    first = desk.record("failed")
    desk.record("ok", job=first["job"], id=first["id"], file="images/again.png")
    assert [(tile["id"], tile["status"]) for tile in read(desk)] == [("row-1", "ok")]


def test_a_page_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first images, and besides them the first without one; the rest is counted."""
    monkeypatch.setattr(tiles, "MOST_IMAGES", 3)
    monkeypatch.setattr(tiles, "MOST_OTHERS", 2)
    for _ in range(5):
        desk.record()
    for _ in range(4):
        desk.record("refused")
    found = Tiles(desk.root)
    assert [json.loads(tile)["index"] for tile in found] == [1, 2, 3, 6, 7]
    assert (found.left_out, found.statuses) == (4, {"ok": 5, "refused": 4})


def test_a_page_is_bounded_in_bytes_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long prompts take the room of many short ones."""
    monkeypatch.setattr(tiles, "MOST_BYTES", 10_000)
    for _ in range(20):
        desk.record(prompt="x" * 3000)
    found = Tiles(desk.root)
    assert (len(list(found)), found.left_out) == (4, 16)


def test_long_texts_are_cut_and_say_so(desk: Desk) -> None:
    """A prompt, a column, a reason, very many columns."""
    columns = {f"c{number}": "y" * 1000 for number in range(100)}
    desk.record("failed", prompt="x" * 9000, columns=columns, error={"code": "e", "message": "z" * 9000})
    desk.record(prompt="short")
    long, short = read(desk)
    assert (len(long["prompt"]), long["prompt"][-1], long["is_cut"]) == (PROMPT_CHARACTERS, "…", True)
    assert "is_cut" not in short
    assert (len(long["columns"]), len(long["columns"]["c0"])) == (tiles.MOST_COLUMNS, VALUE_CHARACTERS)
    assert len(long["reason"]) == VALUE_CHARACTERS


@pytest.mark.parametrize("file", ["../secret.png", "/etc/passwd", "images/../../x.png", "//host/x.png", ""])
def test_a_file_outside_of_the_folder_is_not_shown(desk: Desk, file: str) -> None:
    """Somebody may have edited the manifest; a page must not lead elsewhere."""
    desk.record(data=b"", file="images/row-1.png")
    text = (desk.root / "manifest.jsonl").read_text().replace("images/row-1.png", file)
    (desk.root / "manifest.jsonl").write_text(text)
    assert "url" not in read(desk)[0]


@pytest.mark.parametrize(
    ("file", "url"),
    [
        ("images/a b.png", "images/a%20b.png"),
        ("images/100%#?.png", "images/100%25%23%3F.png"),
        ("images/é’<>\"'.png", "images/%C3%A9%E2%80%99%3C%3E%22%27.png"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("images/back\\slash.png", "images/back%5Cslash.png"),
    ],
)
def test_names_are_written_as_addresses(file: str, url: str) -> None:
    """A name cannot end the path, begin a scheme or leave an attribute."""
    assert url_of(file) == url


@pytest.mark.parametrize("id", ["row-1", "a b", "it's", "*", "a[1]?", "$(rm x)", "--fresh", "é"])
def test_a_row_is_named_for_a_shell_and_for_a_glob(desk: Desk, id: str) -> None:  # noqa: A002
    """What --only gets back matches this row, and is one word."""
    desk.record("refused", id=id)
    (word,) = shlex.split(read(desk)[0]["only"])
    assert fnmatch.fnmatchcase(id, word)
    assert not fnmatch.fnmatchcase(f"x{id}", word)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://bucket.example/a.png?X-Amz-Signature=abc&x=1 now", "see https://bucket.example/a.png?*** now"),
        ("HTTPS://h.example/?sig=1", "HTTPS://h.example/?***"),
        ("why? https://h.example/a", "why? https://h.example/a"),
    ],
)
def test_links_lose_their_queries(desk: Desk, text: str, shown: str) -> None:
    """A page is passed on; a query may be a signature."""
    assert shareable(text, 300) == shown
    desk.record(prompt=text, columns={"photo": text})
    assert (read(desk)[0]["prompt"], read(desk)[0]["columns"]["photo"]) == (shown, shown)


def test_large_images_have_small_pictures(desk: Desk) -> None:
    """Those that are there are used, the others are wanted; those of small images are not."""
    for size in (ABOVE_BYTES + 1, ABOVE_BYTES + 1, 1000):
        desk.record(bytes=size)
    (desk.root / THUMBNAILS).mkdir()
    (desk.root / THUMBNAILS / f"{1:064x}.webp").write_bytes(b"")
    found = Tiles(desk.root)
    shown = [json.loads(tile) for tile in found]
    assert [tile.get("small") for tile in shown] == [f"{THUMBNAILS}/{1:064x}.webp", None, None]
    assert [(one.source, one.target) for one in found.wanted] == [("images/row-2.png", f"{THUMBNAILS}/{2:064x}.webp")]


def test_an_image_that_no_browser_should_draw_is_a_link(desk: Desk) -> None:
    """A decompression bomb has a header that tells."""
    desk.record(width=60_000, height=60_000, bytes=5_000_000)
    found = Tiles(desk.root)
    (tile,) = map(json.loads, found)
    assert (tile["is_huge"], "small" in tile, found.wanted) == (True, False, [])


def test_a_damaged_manifest_is_named(desk: Desk) -> None:
    """As everywhere."""
    desk.record()
    with (desk.root / "manifest.jsonl").open("a") as file:
        file.write("{torn\n")
    desk.record()
    with pytest.raises(ConfigError, match=r"manifest\.jsonl:2"):
        read(desk)


def test_memory_does_not_grow_with_the_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles pass through; nothing is collected but counts."""
    monkeypatch.setattr(tiles, "MOST_IMAGES", 500)
    first = json.dumps(desk.record(prompt="x" * 500))
    with (desk.root / "manifest.jsonl").open("a") as file:
        for number in range(2, 10_000):
            file.write(first.replace(f"{1:016x}", f"{number:016x}") + "\n")
    tracemalloc.start()
    shown = sum(1 for _ in Tiles(desk.root))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert shown == 500
    assert peak < 20_000_000  # of it 16 MiB of marks that are always there
