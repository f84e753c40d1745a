"""PNG files of 8-bit colour images: signature, header, one compressed block of rows, end.

By hand: TensorFlow and Open3D write them too, but take seconds and hundreds of megabytes to import;
Pillow is installed with the newer TensorFlow only.
"""

import pathlib
import struct
import zlib

import numpy as np

from mtml_tf import files

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS, _TRUE_COLOR = 8, 2
_FILTER_UP = 2  # bytes are stored less those of the row above, which compresses flat areas well


def encode_png(image: np.ndarray) -> bytes:
    """Returns an image as the bytes of a PNG file.

    Args:
        image: uint8 [H, W, 3], red green blue, top row first; H and W at least 1.

    Raises:
        ValueError: an array of another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"expected an image as uint8 [H, W, 3] with H and W above 0, found {image.dtype} "
            f"{list(image.shape)}"
        )
    height, width, _ = image.shape
    rows = image.reshape(height, 3 * width)
    filtered = np.empty((height, 1 + 3 * width), np.uint8)
    filtered[:, 0] = _FILTER_UP
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]  # wraps, as the format wants it
    header = struct.pack(">IIBBBBB", width, height, _BITS, _TRUE_COLOR, 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def write_png(path: str | pathlib.Path, image: np.ndarray, overwrite: bool = False) -> None:
    """Writes an image as a PNG file, whole or not at all.

    Args:
        path: the file; its folder is made where it is missing.
        image: uint8 [H, W, 3], red green blue, top row first.
        overwrite: replace a file that exists.

    Raises:
        ValueError: the file exists and `overwrite` is False, or not such an image.
    """
    try:
        data = encode_png(image)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    with files.writing_file(path, overwrite) as temporary:
        temporary.write_bytes(data)
