"""One database for all processes of a user: opened when needed, looked into without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobatch.caches.database import FILE, Database, default_folder, peeking
from nanobatch.errors import CacheError

COUNT = "SELECT count(*) FROM entries"


def test_it_lives_in_the_users_cache_folder(tmp_path: Path) -> None:
    """Where the system says, else where it is usual."""
    assert default_folder({"XDG_CACHE_HOME": "/c"}, tmp_path) == Path("/c/nanobatch")
    assert default_folder({}, tmp_path) == tmp_path / ".cache" / "nanobatch"
    assert default_folder({"XDG_CACHE_HOME": ""}, tmp_path) == tmp_path / ".cache" / "nanobatch"


def test_it_is_made_when_it_is_needed(tmp_path: Path) -> None:
    """A run that asks for nothing leaves nothing."""
    database = Database(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with database.using() as connection:
        assert connection.execute(COUNT).fetchone() == (0,)
    assert (tmp_path / "new" / FILE).exists()
    database.close()
    database.close()


def test_a_change_is_whole_or_none(tmp_path: Path) -> None:
    """What fails in the middle has not happened, and the next change works."""
    database = Database(tmp_path)

    class Trouble(Exception):
        pass

    def fails() -> None:
        with database.changing() as connection:
            connection.execute("INSERT INTO counts VALUES ('a', 1)")
            raise Trouble

    with pytest.raises(Trouble):
        fails()
    with database.changing() as connection:
        assert connection.execute("SELECT count(*) FROM counts").fetchone() == (0,)
    database.close()


@pytest.mark.parametrize("damage", [b"this is no database" * 100, None])
def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path: Path, damage: bytes | None) -> None:
    """A damaged file, or a folder in its place."""
    if damage is None:
        (tmp_path / FILE).mkdir()
    else:
        (tmp_path / FILE).write_bytes(damage)
    database = Database(tmp_path)

    def use() -> None:
        with database.using():
            raise AssertionError

    with pytest.raises(CacheError, match=FILE):
        use()

    def peek() -> None:
        with peeking(tmp_path) as connection:
            assert connection is not None
            connection.execute(COUNT)

    with pytest.raises(CacheError, match="cannot be read"):
        peek()


def test_peeking_leaves_no_trace(tmp_path: Path) -> None:
    """Not a file, and not a byte of difference, whether somebody writes at the moment or not."""
    with peeking(tmp_path / "none") as nothing:
        assert nothing is None
    assert list(tmp_path.iterdir()) == []
    database = Database(tmp_path)
    with database.using() as connection:
        connection.execute("INSERT INTO counts VALUES ('a', 1)")
    for _ in range(2):
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith("-shm")}
        with peeking(tmp_path) as found:
            assert found is not None
            assert found.execute("SELECT * FROM counts").fetchall() == [("a", 1.0)]
        after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith("-shm")}
        assert after == before
        database.close()
