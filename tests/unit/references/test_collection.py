"""The reference images of a run: read once, known by digest, handed out as providers take them."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nanobatch.errors import InputError, StoreError
from nanobatch.references import Accepted, References
from tests.unit.references.conftest import Page, Web

ROOT = Path(__file__).resolve().parents[3]
EVERYTHING = Accepted(("image/png", "image/jpeg", "image/webp"), 7_000_000)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def noise(width: int = 40, height: int = 30) -> Image.Image:
    return Image.effect_noise((width, height), 100).convert("RGB")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def references(tmp_path: Path) -> Iterator[References]:
    references = References(tmp_path / "kept", allow_private=True, timeout_seconds=10)
    yield references
    references.close()


def reason(references: References, source: str, base: Path) -> str:
    with pytest.raises(InputError) as caught:
        references.digest(source, base)
    return caught.value.message


# ------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_fits_passes_untouched(kind: str, references: References, tmp_path: Path) -> None:
    """A provider gets the user's own bytes where it takes them, whatever the file is called."""
    data = encoded(noise(), kind)
    (tmp_path / "fox.txt").write_bytes(data)
    digest = references.digest("fox.txt", tmp_path)
    assert digest == sha256(data)
    reference = references.load(digest, EVERYTHING)
    assert (reference.data, reference.mime, reference.sha256) == (data, f"image/{kind.lower()}", digest)


def test_each_provider_gets_what_it_takes(references: References, tmp_path: Path) -> None:
    """One source, several encodings, each made from the source, all under the source's digest."""
    data = encoded(noise(300, 200), "PNG")
    (tmp_path / "fox.png").write_bytes(data)
    digest = references.digest("fox.png", tmp_path)
    small = references.load(digest, Accepted(("image/jpeg",), 5_000))
    large = references.load(digest, Accepted(("image/jpeg",), 5_000_000))
    webp = references.load(digest, Accepted(("image/webp",), 5_000_000))
    assert len(small.data) <= 5_000 < len(large.data)
    assert Image.open(io.BytesIO(large.data)).size == (300, 200)
    assert (small.mime, large.mime, webp.mime) == ("image/jpeg", "image/jpeg", "image/webp")
    assert {small.sha256, large.sha256, webp.sha256} == {digest}
    fresh = References(tmp_path / "other")
    fresh.digest("fox.png", tmp_path)
    assert fresh.load(digest, Accepted(("image/jpeg",), 5_000_000)).data == large.data


def test_a_photo_with_two_views_is_written_anew(references: References, tmp_path: Path) -> None:
    """Some providers refuse such JPEG files, though their type and size fit."""
    data = encoded(noise(), "MPO", save_all=True, append_images=[noise()])
    (tmp_path / "phone.jpg").write_bytes(data)
    reference = references.load(references.digest("phone.jpg", tmp_path), EVERYTHING)
    assert reference.data != data
    assert Image.open(io.BytesIO(reference.data)).format == "JPEG"


def test_paths_begin_at_the_base(references: References, tmp_path: Path) -> None:
    """A relative path counts from the base, an absolute one from the root."""
    for folder, image in (("a", noise(20)), ("b", noise(30))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "fox.png").write_bytes(encoded(image, "PNG"))
    a = references.digest("fox.png", tmp_path / "a")
    b = references.digest("fox.png", tmp_path / "b")
    assert a != b
    assert references.digest(str(tmp_path / "a" / "fox.png"), tmp_path / "b") == a
    assert references.digest("../a/fox.png", tmp_path / "b") == a


def test_a_file_is_found_after_the_working_folder_changed(
    references: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was meant when the run began is what is read later."""
    (tmp_path / "fox.png").write_bytes(encoded(noise(), "PNG"))
    monkeypatch.chdir(tmp_path)
    digest = references.digest("fox.png", Path())
    monkeypatch.chdir("/")
    assert references.load(digest, EVERYTHING).mime == "image/png"


def test_a_source_is_read_once_in_a_run(references: References, tmp_path: Path) -> None:
    """Thousands of rows may name the same file; only the first looks at it."""
    path = tmp_path / "fox.png"
    path.write_bytes(encoded(noise(), "PNG"))
    digest = references.digest("fox.png", tmp_path)
    path.unlink()
    assert all(references.digest("fox.png", tmp_path) == digest for _ in range(1000))


def test_a_failure_is_found_once_in_a_run(references: References, tmp_path: Path) -> None:
    """All rows that name a missing file get the same reason, also when it comes back meanwhile."""
    first = reason(references, "fox.png", tmp_path)
    (tmp_path / "fox.png").write_bytes(encoded(noise(), "PNG"))
    assert reason(references, "fox.png", tmp_path) == first == "reference image fox.png: no such file"


def test_other_names_of_a_file_are_the_same_file(references: References, tmp_path: Path) -> None:
    """Links and detours lead to the same digest; a pipe in their place would show a second reading."""
    path = tmp_path / "fox.png"
    path.write_bytes(encoded(noise(), "PNG"))
    (tmp_path / "link.png").symlink_to(path)
    digest = references.digest("fox.png", tmp_path)
    stamp = path.stat()
    path.write_bytes(bytes(stamp.st_size))  # another content, which nobody looks at
    os.utime(path, ns=(stamp.st_mtime_ns, stamp.st_mtime_ns))
    assert references.digest("link.png", tmp_path) == references.digest("./fox.png", tmp_path) == digest


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing.png", "no such file"),
        ("folder", "a folder, not a file"),
        ("empty.png", "empty: 0 bytes"),
        ("page.png", "not an image but an HTML page"),
        ("cut.jpg", "the JPEG image is cut off"),
        ("large.bmp", "bytes are more than 3,000"),
        ("s3://bucket/fox.png", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("data:image/png;base64,AAAA", "only http and https"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_name(name: str, why: str, tmp_path: Path) -> None:
    """The reason names the source as the row does, and is one sentence."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.png").write_text("<!doctype html><title>Not found</title>")
    (tmp_path / "cut.jpg").write_bytes(encoded(noise(), "JPEG")[:-300])
    (tmp_path / "large.bmp").write_bytes(encoded(noise(), "BMP"))
    said = reason(References(tmp_path / "kept", max_bytes=3000), name, tmp_path)
    assert why in said
    assert said.startswith("reference image data: URL: " if name.startswith("data") else f"reference image {name}: ")
    assert "\n" not in said
    assert not (tmp_path / "kept").exists()


def test_a_file_that_changed_meanwhile_is_not_sent(references: References, tmp_path: Path) -> None:
    """The job's id says which image it starts from; another one would be a lie."""
    path = tmp_path / "fox.png"
    path.write_bytes(encoded(noise(), "PNG"))
    digest = references.digest("fox.png", tmp_path)
    path.write_bytes(encoded(noise(), "PNG"))
    with pytest.raises(InputError, match=r"reference image fox\.png: changed since the run began"):
        references.load(digest, EVERYTHING)
    path.unlink()
    with pytest.raises(InputError, match=r"reference image fox\.png: no such file"):
        references.load(digest, EVERYTHING)


def test_what_cannot_be_converted_names_its_source(references: References, tmp_path: Path) -> None:
    """A job that fails because of its reference says which one."""
    (tmp_path / "fox.png").write_bytes(encoded(noise(), "PNG"))
    digest = references.digest("fox.png", tmp_path)
    with pytest.raises(InputError, match=r"reference image fox\.png: cannot be made smaller than 10 bytes"):
        references.load(digest, Accepted(("image/jpeg",), 10))


def test_what_was_loaded_is_kept(references: References, tmp_path: Path) -> None:
    """The second job with the same image waits for no disk and no conversion."""
    path = tmp_path / "fox.bmp"
    path.write_bytes(encoded(noise(), "BMP"))
    digest = references.digest("fox.bmp", tmp_path)
    first = references.load(digest, EVERYTHING)
    path.unlink()
    assert references.load(digest, Accepted(("image/png", "image/jpeg", "image/webp"), 7_000_000)) is first


def test_many_threads_load_at_once(references: References, tmp_path: Path) -> None:
    """Whatever the order, each gets the image it asked for, and equal wishes get the same one."""
    digests = []
    for number in range(6):
        (tmp_path / f"{number}.bmp").write_bytes(encoded(noise(20 + number), "BMP"))
        digests.append(references.digest(f"{number}.bmp", tmp_path))
    wishes = [digests[number % 6] for number in range(120)]
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda digest: references.load(digest, EVERYTHING), wishes))
    assert [reference.sha256 for reference in found] == wishes
    assert len({id(reference) for reference in found}) == 6
    assert [Image.open(io.BytesIO(reference.data)).width for reference in found[:6]] == [20, 21, 22, 23, 24, 25]


# -------------------------------------------------------------------------------------------------------------- URLs


def test_a_url_is_fetched_once_and_kept(web: Web, references: References, tmp_path: Path) -> None:
    """A link may expire while the run goes on; its image is on this disk, for this user alone."""
    data = encoded(noise(), "PNG")
    url = web.put("/fox?sig=secret", data)
    digest = references.digest(url, tmp_path)
    assert digest == sha256(data)
    assert references.digest(url, tmp_path / "elsewhere") == digest
    web.pages.clear()
    assert references.load(digest, EVERYTHING).data == data
    assert references.load(digest, Accepted(("image/jpeg",), 7_000_000)).mime == "image/jpeg"
    assert web.paths == ["/fox?sig=secret"]
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700


def test_a_file_and_a_url_with_the_same_bytes_are_the_same(web: Web, references: References, tmp_path: Path) -> None:
    """The digest is of the bytes, wherever they come from."""
    data = encoded(noise(), "PNG")
    (tmp_path / "fox.png").write_bytes(data)
    assert references.digest(web.put("/fox", data), tmp_path) == references.digest("fox.png", tmp_path)


def test_nothing_private_is_fetched_unless_allowed(web: Web, tmp_path: Path) -> None:
    """By default a prompt file cannot make this machine ask its own network."""
    url = web.put("/fox.png", encoded(noise(), "PNG"))
    said = reason(References(tmp_path / "kept"), url, tmp_path)
    assert "is in a private network" in said
    assert web.requests == []
    assert not (tmp_path / "kept").exists()


def test_a_page_in_place_of_an_image_is_refused(web: Web, references: References, tmp_path: Path) -> None:
    """A link to a page that shows the image is a common mistake; the reason keeps the query to itself."""
    page = Page(b"<!DOCTYPE html><title>Fox</title>", headers={"Content-Type": "image/png"})
    url = web.put("/fox.png?sig=secret", page)
    said = reason(references, url, tmp_path)
    assert said == f"reference image http://127.0.0.1:{web.port}/fox.png?***: not an image but an HTML page"
    assert reason(references, url, tmp_path) == said
    assert len(web.requests) == 1


def test_other_failures_name_the_url_without_its_query(web: Web, references: References, tmp_path: Path) -> None:
    """A status, an empty body and a cut image are reasons too."""
    base = f"reference image http://127.0.0.1:{web.port}"
    assert reason(references, web.put("/a?secret", Page(b"", 403)), tmp_path) == f"{base}/a?***: HTTP 403"
    assert reason(references, web.put("/b", b""), tmp_path) == f"{base}/b: empty: 0 bytes"
    assert "cut off" in reason(references, web.put("/c", encoded(noise(), "PNG")[:-20]), tmp_path)


def test_a_download_that_is_too_large_is_refused(web: Web, tmp_path: Path) -> None:
    """The same limit holds for files and URLs."""
    url = web.put("/fox.bmp", encoded(noise(), "BMP"))
    small = References(tmp_path / "kept", allow_private=True, max_bytes=3000)
    assert reason(small, url, tmp_path).endswith("larger than 3,000 bytes")


def test_downloads_go_with_the_run(web: Web, tmp_path: Path) -> None:
    """Closing removes what was downloaded and its folder, nothing else, and may be repeated."""
    references = References(tmp_path / "kept", allow_private=True)
    (tmp_path / "mine.png").write_bytes(encoded(noise(), "PNG"))
    references.digest("mine.png", tmp_path)
    references.close()
    digest = references.digest(web.put("/fox", encoded(noise(), "PNG")), tmp_path)
    references.close()
    references.close()
    assert not (tmp_path / "kept").exists()
    assert (tmp_path / "mine.png").exists()
    with pytest.raises(InputError, match="no such file"):
        references.load(digest, EVERYTHING)


def test_a_folder_that_others_use_stays(web: Web, tmp_path: Path) -> None:
    """Somebody else's files are not ours to remove."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.txt").touch()
    references = References(tmp_path / "kept", allow_private=True)
    references.digest(web.put("/fox", encoded(noise(), "PNG")), tmp_path)
    references.close()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["notes.txt"]


def test_a_disk_without_room_is_no_mistake_of_the_input(web: Web, tmp_path: Path) -> None:
    """Where a download cannot be kept, the store is what failed, and the next run may try again."""
    (tmp_path / "kept").touch()
    references = References(tmp_path / "kept", allow_private=True)
    url = web.put("/fox", encoded(noise(), "PNG"))
    with pytest.raises(StoreError, match="cannot keep a reference image"):
        references.digest(url, tmp_path)
    (tmp_path / "kept").unlink()
    assert references.digest(url, tmp_path)
    references.close()


# ---------------------------------------------------------------------------------------------------------- the rest


def test_it_shows_its_state_and_no_source(references: References, tmp_path: Path) -> None:
    """What a debugger shows holds no path and no URL."""
    (tmp_path / "fox.png").write_bytes(encoded(noise(), "PNG"))
    references.digest("fox.png", tmp_path)
    assert repr(references) == "References(1 sources, Memory(0 references, 0 of 268,435,456 bytes))"


def test_runs_without_references_do_not_wait_for_pillow() -> None:
    """Pillow is imported when the first image is read, and not before."""
    code = "import sys, nanobatch.references; print('PIL' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout == "False\n"
