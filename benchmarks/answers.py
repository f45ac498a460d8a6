"""What the benchmarks' server answers: a whole PNG of a chosen length, in the wire formats of Gemini and OpenAI.

python benchmarks/answers.py KILOBYTES FOLDER      writes gemini.http and openai.http
"""

from __future__ import annotations

import base64
import random
import struct
import sys
import zlib
from pathlib import Path

SIDE = 1024  # pixels, as a 1K image has them


def png(size: int) -> bytes:
    """Build a valid PNG of exactly so many bytes: a plain picture, and a private chunk of random bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + b"\x40\x80\xc0" * SIDE) * SIDE, 9))
    start, end = b"\x89PNG\r\n\x1a\n" + header + pixels, chunk(b"IEND", b"")
    padding = size - len(start) - len(end) - len(chunk(b"raNd", b""))
    if padding < 0:
        raise ValueError(f"a PNG of {SIDE} × {SIDE} pixels takes more than {size} bytes")
    return start + chunk(b"raNd", random.Random(size).randbytes(padding)) + end


def http(body: bytes) -> bytes:
    """Put the head of a 200 before a JSON body."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def gemini(image: bytes) -> bytes:
    """Answer a generateContent as Gemini does: a text part, the image, the tokens."""
    return http(
        b'{"candidates":[{"content":{"parts":[{"text":"Here it is."},{"inlineData":{"mimeType":"image/png","data":"'
        + base64.b64encode(image)
        + b'"}}],"role":"model"},"finishReason":"STOP","index":0}],"modelVersion":"gemini-3-pro-image",'
        b'"responseId":"8cxparnuJ","usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1216,'
        b'"totalTokenCount":1225,"promptTokensDetails":[{"modality":"TEXT","tokenCount":9}],'
        b'"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1120}]}}'
    )


def openai(image: bytes) -> bytes:
    """Answer an images/generations as OpenAI does."""
    return http(
        b'{"created":1763900000,"background":"opaque","data":[{"b64_json":"'
        + base64.b64encode(image)
        + b'"}],"output_format":"png","quality":"medium","size":"1024x1024","usage":{"input_tokens":9,'
        b'"output_tokens":1056,"total_tokens":1065,"input_tokens_details":{"image_tokens":0,"text_tokens":9}}}'
    )


def main() -> None:
    image, folder = png(int(sys.argv[1]) * 1000), Path(sys.argv[2])
    (folder / "gemini.http").write_bytes(gemini(image))
    (folder / "openai.http").write_bytes(openai(image))


if __name__ == "__main__":
    main()
