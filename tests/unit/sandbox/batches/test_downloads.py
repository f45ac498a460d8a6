"""Files of results: whole, cut, and continued."""

from __future__ import annotations

import contextlib

import aiohttp
import pytest

from tests.unit.sandbox.batches.test_desk import KEY, client

pytestmark = pytest.mark.anyio


async def test_a_cut_download_goes_on_where_it_stopped() -> None:
    """At both of the vendor's addresses; a file that has become another one is told apart, and so is its end."""
    async with client(first={"downloadcut": 1}) as vendor:
        name = (await vendor.look(await vendor.batch(2)))["response"]["responsesFile"]
        got = bytearray()
        async with vendor.session.get(f"/v1beta/{name}:download", headers=KEY) as answer:
            tag, size = answer.headers["ETag"], int(answer.headers["Content-Length"])
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async for data in answer.content.iter_any():
                    got += data
        assert 0 < len(got) < size
        more = {**KEY, "Range": f"bytes={len(got)}-", "If-Match": tag}
        async with vendor.session.get(f"/download/v1beta/{name}:download?alt=media", headers=more) as answer:
            assert answer.status == 206
            assert answer.headers["Content-Range"] == f"bytes {len(got)}-{size - 1}/{size}"
            got += await answer.read()
        async with vendor.session.get(f"/v1beta/{name}:download", headers=KEY) as answer:
            assert await answer.read() == got
        for headers, status in (({"Range": f"bytes={size}-"}, 416), ({"If-Match": '"other"'}, 412)):
            async with vendor.session.get(f"/v1beta/{name}:download", headers={**KEY, **headers}) as answer:
                assert answer.status == status


@pytest.mark.parametrize("status", [403, 500])
async def test_a_download_that_is_refused(status: int) -> None:
    """The next one is not."""
    async with client(first={f"download{status}": 1}) as vendor:
        name = (await vendor.look(await vendor.batch(1)))["response"]["responsesFile"]
        for expected in (status, 200):
            async with vendor.session.get(f"/v1beta/{name}:download", headers=KEY) as answer:
                assert answer.status == expected
