"""Whatever is wrong with a picture is found before anybody trains on it."""

import pytest
from toy_steps import picture

from tracer1.data.images import check_image

PNG = picture(1, size=(40, 30))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_whole_picture_has_its_size(kind):
    assert check_image(picture(2, kind, (40, 30))) == (40, 30)
    assert check_image(picture(2, kind, (40, 30)) + b"what a tool appended") == (40, 30)


@pytest.mark.parametrize("place", [9, 17, 30, 60, len(PNG) // 2, len(PNG) - 14, len(PNG) - 2])
def test_a_flipped_bit_anywhere_in_a_png_is_found(place):
    damaged = bytearray(PNG)
    damaged[place] ^= 4
    with pytest.raises(ValueError, match=r"\w"):
        check_image(bytes(damaged))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_cut_anywhere_is_found(kind):
    whole = picture(3, kind, (40, 30))
    for end in [0, 1, 7, 8, 11, 20, 33, *range(40, len(whole) - 20, 97)]:
        with pytest.raises(ValueError, match=r"\w"):
            check_image(whole[:end])
    assert kind == "JPEG" or len(whole) > 12
    if kind == "PNG":
        with pytest.raises(ValueError, match="no end"):
            check_image(whole[:-12])
