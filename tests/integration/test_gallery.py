"""The page in a real browser: what a person sees, what the keyboard does, and what hostile data cannot do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanobatch.reporters.gallery.making import write_gallery
from tests.browser import Browser, Page
from tests.fakes import ManualClock
from tests.gallery_folder import HOSTILE, Desk

TITLES = "[...document.querySelectorAll('.tile .open')].map((tile) => tile.getAttribute('aria-label').split(',')[0])"
FOCUSED = "document.activeElement.getAttribute('aria-label')?.split(',')[0]"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "out")


def opened(browser: Browser, desk: Desk, **screen: Any) -> Page:
    """Make the page and open it from disk."""
    write_gallery(desk.root, ManualClock(), running=False)
    page = browser.page(**screen)
    page.open((desk.root / "gallery.html").as_uri())
    return page


@pytest.fixture
def shop(browser: Browser, desk: Desk) -> Iterator[Page]:
    """Sixty jobs of three providers; every tenth was refused, and the last never sent."""
    desk.note(60)
    for number in range(1, 60):
        facts: dict[str, Any] = {
            "provider": ("google", "kie", "fal")[number % 3], "cost_usd": number / 100, "latency_seconds": 60.0 - number,
            "prompt": f"{'red fox' if number % 2 else 'teapot'} number {number}",
            "columns": {"sku": f"NB-{number:03d}", "shelf": "upper" if number > 50 else "lower", "weight": str(number * 7 % 60)},
        }  # fmt: skip
        desk.record("refused" if number % 10 == 0 else "ok", **facts)
    desk.record("unfinished", id="it's [last]")
    page = opened(browser, desk)
    yield page
    assert page.happened("Runtime.exceptionThrown") == []
    assert [entry for entry in page.happened("Log.entryAdded") if entry["entry"]["level"] == "error"] == []


def count(page: Page) -> str:
    return str(page.run("document.getElementById('count').textContent"))


def shown(page: Page) -> list[str]:
    return [str(title) for title in page.run(TITLES)]


def test_images_are_drawn_from_the_folder(shop: Page, desk: Desk) -> None:
    """From disk, by relative addresses, with prompt, provider, price and time."""
    shop.wait_for("document.querySelector('.open img')?.naturalWidth === 64")
    first = shop.run("document.querySelector('.tile').innerText")
    for words in ("red fox number 1", "kie", "$0.010", "59 s"):
        assert words in first
    assert "44 ok" not in first
    assert shop.run("document.getElementById('summary').textContent").startswith("54 ok, 5 refused, 1 unfinished · $")
    folder = desk.root.as_uri()
    assert len(shop.requests()) > 5
    assert [url for url in shop.requests() if not url.startswith((folder, "data:"))] == []


def test_words_are_searched_in_everything(shop: Page) -> None:
    """All of them, in any case: prompt, id, columns, error; the count is told to screen readers, too."""
    assert count(shop) == "60 shown"
    for words, expected in (("FOX", 30), ("fox nb-05", 5), ("row-7", 1), ("for a reason", 6), ("nothing has this", 0)):
        shop.type("words", words)
        assert count(shop) == f"{expected} of 60 shown", words
    assert shop.run("getComputedStyle(document.getElementById('nothing')).display") != "none"
    shop.run("document.getElementById('clear-too').click()")
    assert (count(shop), shop.run("document.getElementById('words').value")) == ("60 shown", "")


def test_filters_narrow_it_down_together(shop: Page) -> None:
    """Status, provider, and any column of the input."""
    shop.choose("status", "refused")
    assert count(shop) == "5 of 60 shown"
    shop.choose("status", "ok")
    shop.choose("provider", "kie")
    assert count(shop) == "18 of 60 shown"
    shop.choose("column", "shelf")
    assert shop.run("[...document.querySelectorAll('#values option')].map((one) => one.value)") == ["lower", "upper"]
    shop.type("value", "upp")
    assert count(shop) == "3 of 60 shown"
    assert shown(shop) == ["row-52", "row-55", "row-58"]


@pytest.mark.parametrize(
    ("order", "reverse", "first"),
    [
        ("input order", True, "it's [last]"),
        ("price", True, "row-59"),
        ("seconds taken", False, "row-59"),
        ("weight", False, "row-60"),  # as numbers: 0, 1, 2 and not 0, 1, 10
        ("sku", True, "row-59"),
        ("status", True, "it's [last]"),
    ],
)
def test_anything_sorts(shop: Page, order: str, reverse: bool, first: str) -> None:
    """Numbers as numbers, both ways; what has no value comes last."""
    shop.choose("sort", order)
    if reverse:
        shop.run("document.getElementById('direction').click()")
    if order == "weight":
        assert shown(shop)[:3] == ["row-43", "row-26", "row-9"]
    else:
        assert shown(shop)[0] == first


def test_the_keyboard_goes_everywhere(shop: Page) -> None:
    """Arrows in the grid and at full size, Enter in, Escape out, and back on the tile that was looked at last."""
    shop.run("document.querySelector('.open').focus()")
    shop.press("ArrowRight")
    assert shop.run(FOCUSED) == "row-2"
    shop.press("ArrowDown")
    columns = shop.run("Math.round((grid.clientWidth + 14) / (document.querySelector('.tile').offsetWidth + 14))")
    assert shop.run(FOCUSED) == f"row-{2 + columns}"
    shop.press("Home")
    shop.press("Enter")
    assert shop.run("document.getElementById('viewer').open") is True
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        shop.press(key)
    assert shop.run("document.getElementById('viewer-title').textContent") == "row-2"
    assert shop.run("document.getElementById('position').textContent") == "2 of 60"
    shop.wait_for("document.querySelector('#stage img')?.naturalWidth === 64")
    shop.press("Escape")
    assert shop.run("document.getElementById('viewer').open") is False
    shop.wait_for(f"{FOCUSED} === 'row-2'")  # the dialog tells of its end a moment later
    shop.press("End")
    assert shop.run(FOCUSED) == "it's [last]"
    shop.press("/")
    assert shop.run("document.activeElement.id") == "words"


def test_at_both_ends_the_arrows_stay(shop: Page) -> None:
    """The first image has none before it, and the last none after it."""
    shop.run("document.querySelector('.open').click()")
    shop.press("ArrowLeft")
    assert shop.run("document.getElementById('position').textContent") == "1 of 60"
    shop.press("End")
    shop.press("ArrowRight")
    assert shop.run("document.getElementById('position').textContent") == "60 of 60"
    assert shop.run("document.getElementById('next').disabled") is True


def test_whoever_skips_the_controls_is_on_a_tile(shop: Page) -> None:
    """The first stop of Tab leads past a dozen others."""
    shop.press("Tab")
    assert shop.run("document.activeElement.id") == "skip"
    shop.press("Enter")
    assert shop.run(FOCUSED) == "row-1"


def test_tab_reaches_controls_then_one_tile_then_its_button(shop: Page) -> None:
    """Sixty tiles are not sixty stops."""
    shop.run("document.getElementById('clear').focus()")
    for expected in ("row-1", "Copy prompt"):
        shop.press("Tab")
        assert shop.run(FOCUSED) == expected


def test_rows_without_an_image_say_why_and_how_to_send_them_again(shop: Page) -> None:
    """With the command for the row, and for all of them."""
    notes = shop.run("document.getElementById('notes').innerText")
    assert "1 without an image yet" in notes
    assert "cd /srv/shop && nanobatch run p.csv --limit 9 --retry-failed" in notes
    shop.choose("status", "refused")
    assert "refused for a reason" in shop.run("document.querySelector('.tile .why').textContent")
    shop.run("document.querySelector('.open').click()")
    command = "document.querySelector('.command').textContent"
    assert shop.run(command) == "cd /srv/shop && nanobatch run p.csv --retry-failed --only row-10"
    shop.press("Escape")
    shop.choose("status", "unfinished")
    shop.run("document.querySelector('.open').click()")
    assert shop.run(command) == "cd /srv/shop && nanobatch run p.csv --only 'it'\"'\"'s [[]last]'"


def test_a_prompt_is_copied_whole(shop: Page) -> None:
    """As the words of the prompt, and it is told."""
    allowed = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    shop.browser.ask("Browser.grantPermissions", browserContextId=shop.context, permissions=allowed)
    shop.ask("Page.bringToFront")
    shop.run("document.querySelector('.below button').click()")
    shop.wait_for("document.getElementById('said').textContent === 'Copied.'")
    assert shop.run("navigator.clipboard.readText()") == "red fox number 1"


@pytest.mark.parametrize("dark", [False, True])
def test_the_theme_follows_the_system_until_the_button(browser: Browser, desk: Desk, dark: bool) -> None:
    """Then it is the button's."""
    desk.record()
    page = opened(browser, desk, dark=dark)
    ground = "getComputedStyle(document.body).backgroundColor"
    grounds = {True: "rgb(22, 22, 21)", False: "rgb(246, 246, 244)"}
    assert page.run(ground) == grounds[dark]
    page.run("document.getElementById('theme').click()")
    assert page.run(ground) == grounds[not dark]
    page.run("document.getElementById('theme').click()")
    assert page.run(ground) == grounds[dark]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_data_is_only_text(browser: Browser, desk: Desk, text: str) -> None:
    """In prompt, id, column, column's name, provider, reason and file name: no dialog, no request, no element."""
    name = text.replace("/", "-")
    for status in ("ok", "failed"):
        error = {"code": text, "message": text}
        desk.record(
            status, id=text, prompt=text, provider=text, columns={text: text}, warnings=[text], provider_model=text,
            **({"file": f"images/{name}.png"} if status == "ok" else {"error": error}),
        )  # fmt: skip
    page = opened(browser, desk)
    page.choose("column", text)
    page.type("value", text)
    page.type("words", text)
    page.run("document.querySelector('.open').click()")
    page.press("ArrowRight")
    page.press("ArrowLeft")
    page.wait_for("document.querySelector('#stage img')?.naturalWidth === 64")
    assert page.run("document.getElementById('viewer-prompt').textContent") == text
    assert page.run("document.querySelector('.words').textContent") == text
    assert page.happened("Page.javascriptDialogOpening") == []
    assert page.happened("Runtime.exceptionThrown") == []
    folder = desk.root.as_uri()
    assert [url for url in page.requests() if not url.startswith((folder, "data:"))] == []
    assert page.run("document.querySelectorAll('svg, iframe, b').length") == 0
    assert page.run("document.querySelectorAll('script').length") == 3


def test_the_policy_stops_what_escaping_would_not(browser: Browser, desk: Desk) -> None:
    """Even a script that came into the page would not run, and could not ask anybody for anything."""
    desk.record()
    page = opened(browser, desk)
    page.run(
        "(() => { const script = document.createElement('script'); try { script.textContent = 'window.ran = 1'; } catch {}"
        " document.body.append(script); const image = new Image(); image.src = 'http://127.0.0.1:9/x.png'; })()"
    )
    assert page.run("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'stopped')") == "stopped"
    assert page.run("typeof window.ran") == "undefined"
    assert (
        page.run(
            "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'done'; } catch { return 'stopped'; } })()"
        )
        == "stopped"
    )
    sent = [facts for facts in page.happened("Network.responseReceived") if "127.0.0.1" in json.dumps(facts)]
    assert sent == []


def test_missing_broken_and_huge_images_have_words_instead(browser: Browser, desk: Desk) -> None:
    """The page says which file it is about; a bomb is not drawn."""
    (desk.root / desk.record()["file"]).unlink()
    desk.record(data=b"no image")
    desk.record(width=50_000, height=50_000)
    desk.record(file="../outside.png", data=b"")
    page = opened(browser, desk)
    page.wait_for("document.querySelectorAll('.tile .why').length === 4")
    words = page.run("[...document.querySelectorAll('.tile .why')].map((one) => one.textContent)")
    assert "There is no image at images/row-1.png" in words[0]
    assert "images/row-2.png" in words[1]
    assert words[2] == "Too large to be drawn here: 50000 × 50000 pixels."
    assert words[3] == "The record names no file of this folder."
    assert not [url for url in page.requests() if "row-3" in url or "outside" in url]


def test_a_lost_small_picture_gives_way_to_the_image(browser: Browser, desk: Desk) -> None:
    """Whoever copies the folder without its hidden part still sees everything."""
    desk.record(bytes=5_000_000)
    small = desk.root / ".nanobatch/thumbs" / f"{1:064x}.webp"
    small.parent.mkdir()
    small.write_bytes(b"")
    page = opened(browser, desk)
    page.wait_for("document.querySelector('.open img')?.naturalWidth === 64")
    assert page.run("document.querySelector('.open img').getAttribute('src')") == "images/row-1.png"


def test_a_moved_folder_shows_its_images(browser: Browser, desk: Desk, tmp_path: Path) -> None:
    """Addresses are relative, also where the folder's name needs escapes."""
    desk.record(file="images/deep er/100% #1?.png")
    write_gallery(desk.root, ManualClock(), running=False)
    moved = tmp_path / "else where #2?"
    desk.root.rename(moved)
    page = browser.page()
    page.open((moved / "gallery.html").as_uri())
    page.wait_for("document.querySelector('.open img')?.naturalWidth === 64")


def test_ten_thousand_tiles_are_a_few_elements(browser: Browser, desk: Desk) -> None:
    """Only what is in sight is in the page, wherever it is scrolled to; a position says where that is."""
    first = json.dumps(desk.record())
    with (desk.root / "manifest.jsonl").open("a") as file:
        for number in range(2, 10_001):
            line = first.replace(f"{1:016x}", f"{number:016x}").replace('"row-1"', f'"row-{number}"')
            file.write(line.replace('"index": 1,', f'"index": {number},') + "\n")
    page = opened(browser, desk)
    for where in ("0", "0.5", "1"):
        page.run(f"window.scrollTo(0, document.documentElement.scrollHeight * {where})")
        page.wait_for("document.querySelector('.open img')?.src")
        assert page.run("document.querySelectorAll('.tile').length") < 100
    page.wait_for(f"{TITLES}.at(-1) === 'row-10000'")
    last = "[...document.querySelectorAll('.tile')].at(-1)"
    assert page.run(f"[{last}.ariaSetSize, {last}.ariaPosInSet]") == ["10000", "10000"]
    page.type("words", "row-77")
    assert count(page) == "111 of 10,000 shown"
    page.run("document.querySelector('.open').focus()")
    page.press("End")
    assert page.run(FOCUSED) == "row-7799"


@pytest.mark.parametrize("width", [320, 390, 768, 1920])
def test_it_fits_every_width(browser: Browser, desk: Desk, width: int) -> None:
    """Nothing has to be scrolled sideways, long words are broken."""
    desk.note(9, command=("run", "p" * 300 + ".csv"))
    desk.record(prompt="x" * 500, id="y" * 120, columns={"z" * 100: "w" * 200})
    desk.record("failed", error={"code": "e", "message": "m" * 300})
    page = opened(browser, desk, width=width, height=700)
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    page.run("document.querySelector('.open').click()")
    assert page.run("document.querySelector('.about').scrollWidth <= document.querySelector('.about').clientWidth")


def test_an_empty_page_says_so(browser: Browser, desk: Desk) -> None:
    """A run that has just begun."""
    desk.note(12)
    page = opened(browser, desk)
    assert page.run("document.getElementById('summary').textContent").startswith("12 not come to yet")
    assert (count(page), shown(page)) == ("0 shown", [])


def test_it_can_be_used_by_ear(shop: Page) -> None:
    """Everything that can be operated has a role and a name in the tree that screen readers read."""
    shop.ask("Accessibility.enable")
    nodes = shop.ask("Accessibility.getFullAXTree")["nodes"]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    operated = [(role, name) for role, name in found if role in ("button", "searchbox", "combobox", "textbox", "link")]
    assert len(operated) > 20
    assert [role for role, name in operated if not name] == []
    roles = {role for role, _ in found}
    assert {"banner", "main", "search", "list", "listitem", "status", "heading"} <= roles
