import struct
import zlib

import numpy as np
import pytest

from mtml_tf.drawing.png import encode_png, write_png


def decode(data):
    """Reads a PNG file chunk by chunk; checks every checksum; undoes the filters 0 and 2."""
    assert data[:8] == bytes([137, 80, 78, 71, 13, 10, 26, 10])
    chunks, place = [], 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        body = data[place + 4 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, place + 8 + length)
        assert zlib.crc32(body) == checksum
        chunks.append((body[:4], body[4:]))
        place += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert rest == [8, 2, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[1][1]), np.uint8).reshape(height, 1 + 3 * width)
    image = np.zeros((height, 3 * width), np.uint8)
    for y, (kind, *values) in enumerate(rows.tolist()):
        assert kind in (0, 2)
        above = image[y - 1].astype(int) if y and kind == 2 else 0
        image[y] = (np.array(values) + above) % 256
    return image.reshape(height, width, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (13, 9)])
def test_pixels_come_back(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    np.testing.assert_array_equal(decode(encode_png(image)), image)


def test_a_slice_of_an_image_is_written_as_it_looks():
    image = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)[:, ::-2]
    np.testing.assert_array_equal(decode(encode_png(image)), image)


def test_flat_areas_take_little_space():
    assert len(encode_png(np.full((500, 700, 3), 255, np.uint8))) < 5000


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((2, 2, 3)), r"found float64 \[2, 2, 3\]"),
        (np.zeros((2, 2), np.uint8), r"found uint8 \[2, 2\]"),
        (np.zeros((2, 2, 4), np.uint8), r"found uint8 \[2, 2, 4\]"),
        (np.zeros((0, 2, 3), np.uint8), r"found uint8 \[0, 2, 3\]"),
    ],
)
def test_what_is_no_image_is_refused_and_leaves_no_file(tmp_path, image, found):
    with pytest.raises(ValueError, match=rf"a\.png: expected an image as uint8 .*{found}"):
        write_png(tmp_path / "a.png", image)
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "pictures" / "a.png"
    black, white = (np.full((2, 2, 3), value, np.uint8) for value in (0, 255))
    write_png(path, black)
    with pytest.raises(ValueError, match=r"a\.png: exists already"):
        write_png(path, white)
    np.testing.assert_array_equal(decode(path.read_bytes()), black)
    write_png(path, white, overwrite=True)
    np.testing.assert_array_equal(decode(path.read_bytes()), white)
