"""New encodings: which type, how turned, how small, with which colours."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageDraw

from nanobatch.errors import InputError
from nanobatch.references.accepted import Accepted
from nanobatch.references.conversion import convert
from nanobatch.references.signatures import recognise

EVERYTHING = Accepted(("image/png", "image/jpeg", "image/webp"), 10_000_000)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def only(*kinds: str, max_bytes: int = 10_000_000, side: int | None = None) -> Accepted:
    return Accepted(tuple(f"image/{kind}" for kind in kinds), max_bytes, side)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def converted(data: bytes, accepted: Accepted = EVERYTHING) -> Image.Image:
    """Convert, check what every conversion promises, and decode the result."""
    made, mime = convert(data, recognise(data), accepted)
    assert mime in accepted.types
    assert recognise(made) == mime
    assert len(made) <= accepted.max_bytes
    image = Image.open(io.BytesIO(made))
    image.load()
    assert not image.getexif()
    assert not getattr(image, "is_animated", False)
    return image


def close(found: Any, wanted: tuple[int, ...], by: int = 12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(found, wanted, strict=True))


def halves(left: tuple[int, ...], right: tuple[int, ...], mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (80, 40), left)
    image.paste(right, (40, 0, 80, 40))
    return image


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 100).convert("RGB")


@pytest.mark.parametrize(
    ("mode", "accepted", "kind"),
    [
        ("RGB", only("png", "jpeg", "webp"), "JPEG"),
        ("RGB", only("webp", "png"), "PNG"),
        ("RGB", only("webp"), "WEBP"),
        ("RGBA", only("png", "jpeg", "webp"), "PNG"),
        ("RGBA", only("jpeg", "webp"), "WEBP"),
        ("RGBA", only("jpeg"), "JPEG"),
    ],
)
def test_the_type_follows_from_what_is_taken(mode: str, accepted: Accepted, kind: str) -> None:
    """JPEG for what is opaque, PNG or WEBP for what is transparent, else what there is."""
    assert converted(encoded(Image.new(mode, (9, 9)), "TIFF"), accepted).format == kind


def test_what_takes_nothing_we_write_is_an_error() -> None:
    """Only three types are ever written."""
    with pytest.raises(InputError, match="cannot be converted to image/heic or image/gif"):
        convert(encoded(noise(9, 9), "PNG"), "image/png", only("heic", "gif"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_the_camera_was_held(orientation: int) -> None:
    """For each of the eight orientations the red corner comes out at the upper left."""
    upright = Image.new("RGB", (60, 40), BLUE)
    upright.paste(RED, (0, 0, 24, 16))
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }.get(orientation)  # fmt: skip
    stored = upright.transpose(turn) if turn is not None else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = converted(encoded(stored, "JPEG", exif=exif.tobytes(), quality=95), only("png"))
    assert image.size == (60, 40)
    assert close(image.getpixel((6, 6)), RED)
    assert close(image.getpixel((54, 34)), BLUE)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x01", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense"]
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's; outside of tests they are silent
def test_damaged_exif_data_say_nothing(exif: bytes) -> None:
    """A photo is as good without them."""
    assert converted(encoded(halves(RED, BLUE), "JPEG", exif=exif), only("png")).size == (80, 40)


def test_what_the_camera_wrote_beside_the_picture_is_left_out() -> None:
    """Neither place nor comment nor device go to a provider in a new encoding."""
    exif = Image.Exif()
    exif[0x010F] = "SECRET maker"
    exif.get_ifd(0x8825)[1] = "N"
    data = encoded(noise(9, 9), "JPEG", exif=exif.tobytes(), comment=b"SECRET comment", xmp=b"<SECRET/>")
    assert data.count(b"SECRET") == 3
    for kind in ("png", "webp"):
        assert b"SECRET" not in convert(data, "image/jpeg", only(kind))[0]
    assert b"SECRET" not in convert(encoded(noise(9, 9), "GIF", comment=b"SECRET"), "image/gif", only("jpeg"))[0]


@pytest.mark.parametrize(("kind", "tolerance"), [("MPO", 12), ("GIF", 2), ("TIFF", 2), ("WEBP", 12)])
def test_of_several_pictures_the_first_is_taken(kind: str, tolerance: int) -> None:
    """The second view of a phone, the animation and the further pages stay behind."""
    data = encoded(
        Image.new("RGB", (32, 32), RED), kind, save_all=True, append_images=[Image.new("RGB", (32, 32), BLUE)]
    )
    image = converted(data)
    assert close(image.convert("RGB").getpixel((9, 9)), RED, tolerance)


def test_a_photo_with_two_views_becomes_a_plain_jpeg() -> None:
    """The new encoding holds one picture, as Pillow sees it too."""
    data = encoded(noise(32, 32), "MPO", save_all=True, append_images=[noise(32, 32)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert converted(data, only("jpeg")).format == "JPEG"


# ---------------------------------------------------------------------------------------------------------- colours


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_kept_where_it_can_be(kind: str) -> None:
    """Half transparent stays half transparent."""
    image = converted(encoded(halves((255, 0, 0, 255), (0, 0, 255, 0), "RGBA"), kind), only("jpeg", "png"))
    assert image.mode == "RGBA"
    assert close(image.getpixel((9, 9)), (*RED, 255))
    assert image.getpixel((60, 9))[3] == 0  # type: ignore[index]


def test_transparency_becomes_white_where_it_must() -> None:
    """For a provider without PNG and WEBP the picture is laid on white, in the right proportion."""
    data = encoded(halves((255, 0, 0, 128), (0, 0, 255, 0), "RGBA"), "PNG")
    image = converted(data, only("jpeg"))
    assert close(image.getpixel((9, 9)), (255, 127, 127))
    assert close(image.getpixel((70, 9)), (255, 255, 255))


def test_an_alpha_channel_that_hides_nothing_is_no_transparency() -> None:
    """A screenshot with an idle alpha channel becomes a JPEG."""
    assert converted(encoded(halves((*RED, 255), (*BLUE, 255), "RGBA"), "PNG")).format == "JPEG"


def test_a_palette_with_a_transparent_colour_is_transparent() -> None:
    """A palette's own transparency counts as any other, in PNG and GIF."""
    palette = halves(RED, BLUE).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    index = palette.getpixel((60, 9))
    for data in (encoded(palette, "PNG", transparency=index), encoded(palette, "GIF", transparency=index)):
        image = converted(data)
        assert (image.format, image.mode) == ("PNG", "RGBA")
        assert close(image.getpixel((9, 9)), (*RED, 255))
        assert image.getpixel((60, 9))[3] == 0  # type: ignore[index]


def test_cmyk_becomes_rgb() -> None:
    """Print colours are converted, also from the JPEG files that hold them."""
    cmyk = halves(RED, BLUE).convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        image = converted(encoded(cmyk, kind), only("png"))
        assert image.mode == "RGB"
        assert close(image.getpixel((9, 9)), RED, 30)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_colour_profile_is_kept(kind: str) -> None:
    """Without its profile a photo of a phone would look pale."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(noise(20, 20), "TIFF", icc_profile=profile)
    assert converted(data, only(kind)).info.get("icc_profile") == profile


def test_a_profile_that_describes_other_colours_is_left_out() -> None:
    """A profile for RGB says nothing about grey, and one for CMYK nothing about RGB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    print_profile = profile[:16] + b"CMYK" + profile[20:]
    assert "icc_profile" not in converted(encoded(Image.new("L", (9, 9)), "TIFF", icc_profile=profile)).info
    cmyk = encoded(halves(RED, BLUE).convert("CMYK"), "JPEG", icc_profile=print_profile)
    image = converted(cmyk, only("png"))
    assert "icc_profile" not in image.info
    assert close(image.getpixel((9, 9)), RED, 30)


def test_a_grey_profile_stays_with_grey() -> None:
    """A grey picture keeps its profile, except in WEBP, which has no grey."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = profile[:16] + b"GRAY" + profile[20:]
    data = encoded(Image.new("L", (9, 9)), "TIFF", icc_profile=grey)
    assert converted(data, only("png")).info["icc_profile"] == grey
    assert not converted(data, only("webp")).info.get("icc_profile")


def test_a_profile_larger_than_the_picture_may_be_is_left_out() -> None:
    """Where bytes are few, the picture comes first."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(5000)
    data = encoded(noise(20, 20), "TIFF", icc_profile=profile)
    assert "icc_profile" not in converted(data, only("jpeg", max_bytes=4000)).info


def test_sixteen_bits_become_eight() -> None:
    """Grey of 16 bits keeps its tones: half is half, however dark the brightest pixel."""
    image = Image.new("I;16", (20, 20), 32_768)
    for kind in ("PNG", "TIFF"):
        assert abs(int(str(converted(encoded(image, kind), only("png")).getpixel((0, 0)))) - 128) <= 1
    dark = converted(encoded(Image.new("I;16", (20, 20), 257), "PNG"), only("png"))
    assert dark.getpixel((0, 0)) == 1


@pytest.mark.parametrize(
    ("mode", "value", "wanted"),
    [
        ("F", 0.5, 127),
        ("F", 128.0, 128),
        ("I", 65_535, 255),
        ("I", 200, 200),
        ("I", 1_000_000, 255),
        ("F", -3.0, 0),
        ("F", 0.0, 0),
    ],
)
def test_samples_that_are_not_bytes_are_scaled(mode: str, value: float, wanted: int) -> None:
    """Whole numbers and fractions of 32 bits are brought to 0-255 by the full scale that fits them."""
    image = Image.new(mode, (20, 20), value)
    assert converted(encoded(image, "TIFF"), only("png")).getpixel((0, 0)) == wanted


# ------------------------------------------------------------------------------------------------------------- sizes


def test_quality_goes_before_pixels() -> None:
    """As long as a lower quality is enough, no pixel is lost."""
    data = encoded(noise(300, 200), "PNG")
    best = len(convert(data, "image/png", only("jpeg"))[0])
    made = converted(data, only("jpeg", max_bytes=best - 1))
    assert made.size == (300, 200)
    small = converted(data, only("jpeg", max_bytes=best // 5))
    assert small.size < (300, 200)
    assert abs(small.width / small.height - 1.5) < 0.1


def test_a_fitting_picture_is_not_made_much_too_small() -> None:
    """Of the bytes that are allowed a fair share is used."""
    data = encoded(noise(600, 400), "PNG")
    for kind in ("png", "jpeg", "webp"):
        made, _ = convert(data, "image/png", only(kind, max_bytes=30_000))
        assert 10_000 < len(made) <= 30_000


def test_a_large_transparent_picture_becomes_webp_before_it_shrinks() -> None:
    """PNG has no quality to lower; WEBP has, and keeps transparency."""
    image = noise(300, 200)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    made = converted(encoded(image, "PNG"), only("png", "webp", max_bytes=100_000))
    assert (made.format, made.mode, made.size) == ("WEBP", "RGBA", (300, 200))
    made = converted(encoded(image, "PNG"), only("png", max_bytes=100_000))
    assert (made.format, made.mode) == ("PNG", "RGBA")
    assert made.size < (300, 200)


@pytest.mark.parametrize("size", [(400, 100), (100, 400), (400, 1)])
def test_the_longer_side_is_limited(size: tuple[int, int]) -> None:
    """The proportions stay, and no side becomes nothing."""
    made = converted(encoded(noise(*size), "PNG"), only("png", side=200))
    assert made.size == (max(1, size[0] // 2), max(1, size[1] // 2))


def test_a_small_picture_is_not_blown_up() -> None:
    """A limit is no wish."""
    assert converted(encoded(noise(50, 40), "BMP"), only("png", side=200)).size == (50, 40)


def test_a_picture_longer_than_a_format_allows_is_shrunk() -> None:
    """WEBP ends at 16,383 pixels."""
    made = converted(encoded(Image.new("RGB", (17_000, 4), RED), "PNG"), only("webp"))
    assert made.size == (16_383, 4)


def test_what_cannot_become_small_enough_is_an_error() -> None:
    """A limit below the size of an empty file cannot be kept."""
    with pytest.raises(InputError, match="cannot be made smaller than 20 bytes"):
        convert(encoded(noise(50, 40), "BMP"), "image/bmp", only("jpeg", max_bytes=20))


def test_a_detail_survives() -> None:
    """What was drawn is still there, at its place."""
    image = Image.new("RGB", (400, 400), "white")
    ImageDraw.Draw(image).ellipse((300, 20, 380, 100), fill=RED)
    made = converted(encoded(image, "TIFF"), only("jpeg", side=200))
    assert close(made.getpixel((170, 30)), RED)
    assert close(made.getpixel((30, 170)), (255, 255, 255))


def test_damaged_pixels_are_an_error() -> None:
    """An image whose header is whole and whose pixels are not is refused with the decoder's reason."""
    data = bytearray(encoded(noise(50, 40), "PNG"))
    at = data.index(b"IDAT") + 50
    data[at : at + 200] = bytes(200)
    with pytest.raises(InputError, match="damaged"):
        convert(bytes(data), "image/png", only("jpeg"))


def test_equal_sources_give_equal_bytes() -> None:
    """An encoding depends on the source and on what is taken, and on nothing else."""
    data = encoded(noise(50, 40), "BMP")
    assert convert(data, "image/bmp", EVERYTHING) == convert(bytes(data), "image/bmp", EVERYTHING)
