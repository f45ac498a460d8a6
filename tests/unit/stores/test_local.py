"""The output folder as a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.errors import StoreError
from nanobatch.stores.local import LocalStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "out")


def part(store: LocalStore, data: bytes = b"bytes") -> Path:
    path = store.new_part()
    path.write_bytes(data)
    return path


async def test_a_part_becomes_the_file_in_one_step(store: LocalStore) -> None:
    """Adopting renames: the bytes are at the key, and no part is left."""
    source = part(store)
    store.flush(source)
    store.adopt(source, "images/deep/er/a.png")
    assert (store.root / "images/deep/er/a.png").read_bytes() == b"bytes"
    assert not source.exists()
    assert store.size("images/deep/er/a.png") == 5
    store.sync()


async def test_parts_have_names_of_their_own(store: LocalStore) -> None:
    """Two parts never meet, also over two processes on one folder."""
    other = LocalStore(store.root)
    assert len({store.new_part(), store.new_part(), other.new_part(), other.new_part()}) == 4


async def test_nothing_is_overwritten(store: LocalStore) -> None:
    """What stood at the key is set aside under a name of its own, each time."""
    for content in (b"one", b"two", b"three"):
        store.adopt(part(store, content), "images/a.png")
    assert (store.root / "images/a.png").read_bytes() == b"three"
    assert sorted(path.read_bytes() for path in (store.root / ".nanobatch/replaced").iterdir()) == [b"one", b"two"]


async def test_small_files_are_replaced_whole(store: LocalStore) -> None:
    """`put` writes aside and renames, so a reader never sees a half; the older content is gone."""
    await store.put("run.json", b'{"a":1}')
    await store.put("run.json", b"{}")
    assert (store.root / "run.json").read_bytes() == b"{}"
    assert list((store.root / ".nanobatch/parts").iterdir()) == []


@pytest.mark.parametrize("key", ["missing.png", "images", "a\0b"])
async def test_the_size_of_what_is_not_a_file(store: LocalStore, key: str) -> None:
    """A key without a file has no size; a name that no file can have has none either."""
    size = store.size(key)
    assert size is None


async def test_a_folder_in_the_way_is_a_clear_error(store: LocalStore) -> None:
    """A file that cannot be placed is a StoreError that names it, and the part stays."""
    (store.root / "images").write_text("a file where a folder should be")
    source = part(store)
    with pytest.raises(StoreError, match="images"):
        store.adopt(source, "images/a.png")
    assert source.exists()


async def test_put_in_an_impossible_place_leaves_nothing(store: LocalStore) -> None:
    """A failed `put` cleans up after itself."""
    with pytest.raises(StoreError, match=r"none/run\.json"):
        await store.put("none/run.json", b"x")
    assert list((store.root / ".nanobatch/parts").iterdir()) == []


async def test_a_root_that_cannot_exist(tmp_path: Path) -> None:
    """An output folder below a file is refused when the store is opened."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        LocalStore(tmp_path / "file" / "out")


async def test_leftovers_are_cleaned_except_those_that_are_paid(store: LocalStore) -> None:
    """Half-written parts of a killed run go; parts that the ledger knows as whole stay."""
    keep, drop = part(store), part(store)
    store.clean_parts(keep={keep.name})
    assert keep.exists()
    assert not drop.exists()
    assert store.part(keep.name) == keep


async def test_flushing_a_part_that_is_gone(store: LocalStore) -> None:
    """A part that vanished is a StoreError, not a crash."""
    with pytest.raises(StoreError):
        store.flush(store.new_part())
