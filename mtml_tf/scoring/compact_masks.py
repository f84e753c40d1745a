"""Masks of a scene as run lengths: one small file, written whole, in place of a text for each.

    <scene>.masks   8 bytes `MTMLRLE1`, then zlib of
                    uint64 N, uint64 K, float64 [K] scores, int64 [K] class ids,
                    uint32 [K] numbers of runs, and the runs of all masks one after another

A run of vertices is two uint32: how many vertices before it do not belong to the mask (since the
run before), and how many do. Of all runs the lowest bytes come first, then the next ones, which
zlib packs better. All numbers are little-endian. zlib's checksum covers everything, so that a
damaged file is told, and scores are exact: the two forms of predictions (see `benchmark_format`)
score equally.
"""

import pathlib
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from mtml_tf import files
from mtml_tf.scene import Instance

Array = np.ndarray

SUFFIX = ".masks"
_MAGIC = b"MTMLRLE1"
_COUNTS = struct.Struct("<QQ")
_BYTES_AN_INSTANCE = 8 + 8 + 4
# What is refused, written or read, so that no file makes its reader take memory without end: more
# bytes than 30 million runs have, and more members of masks than 64 masks of a million vertices.
_MOST_BYTES = 1 << 28
_MOST_MEMBERS = 1 << 26
_MOST_VERTICES = (1 << 31) - 1  # indices are int32


def encode_masks(instances: Sequence[Instance], num_vertices: int, owner: str) -> bytes:
    """Returns the masks of a scene as the bytes of a file.

    Args:
        instances: with vertex rows as indices, in any order and number of times.
        num_vertices: N, number of vertices of the scan.
        owner: what to name in an error, such as "scene desk".

    Raises:
        ValueError: an index beyond the vertices, a score that is not finite, or more masks than
            are read back.
    """
    runs_of_masks = []
    for instance in instances:
        instance.check(owner, num_vertices)
        member = np.zeros(num_vertices + 2, bool)
        member[np.asarray(instance.indices, np.int64) + 1] = True
        edges = np.flatnonzero(member[1:] != member[:-1])  # where a run starts, where it ends, ...
        runs_of_masks.append(np.diff(edges, prepend=0).astype("<u4"))
    runs = np.concatenate([np.zeros(0, "<u4"), *runs_of_masks])
    payload = b"".join(
        [
            _COUNTS.pack(num_vertices, len(instances)),
            np.array([instance.score for instance in instances], "<f8").tobytes(),
            np.array([instance.class_id for instance in instances], "<i8").tobytes(),
            np.array([len(of_mask) // 2 for of_mask in runs_of_masks], "<u4").tobytes(),
            runs.view(np.uint8).reshape(-1, 4).T.tobytes(),
        ]
    )
    covered = int(runs[1::2].sum(dtype=np.int64))
    problem = _excess(len(payload), covered)
    if problem:
        raise ValueError(f"{owner}: {problem}; leave out the instances of the lowest score")
    return _MAGIC + zlib.compress(payload, 9)


def decode_masks(
    data: bytes, owner: str, num_vertices: int | None = None
) -> tuple[list[Instance], int]:
    """Returns the masks of `encode_masks`, and the number of vertices.

    Args:
        data: any bytes.
        owner: the file, to name in an error.
        num_vertices: how many are expected; None for any number.

    Raises:
        ValueError: bytes that `encode_masks` does not make, or another number of vertices.
    """
    expected = f"{owner}: expected run lengths of masks"
    payload = _unpack(data, expected)
    count_of_vertices, count = _COUNTS.unpack_from(payload)
    if num_vertices is not None and count_of_vertices != num_vertices:
        raise ValueError(
            f"{owner}: expected masks of {num_vertices} vertices, found {count_of_vertices}"
        )
    start = _COUNTS.size + count * _BYTES_AN_INSTANCE
    if start > len(payload) or count_of_vertices > _MOST_VERTICES:
        raise ValueError(
            f"{expected}, found {count} masks of {count_of_vertices} vertices in {len(payload)} "
            "bytes"
        )
    scores = np.frombuffer(payload, "<f8", count, _COUNTS.size)
    class_ids = np.frombuffer(payload, "<i8", count, _COUNTS.size + 8 * count)
    num_runs = np.frombuffer(payload, "<u4", count, _COUNTS.size + 16 * count).astype(np.int64)
    if len(payload) - start != 8 * num_runs.sum():
        raise ValueError(
            f"{expected}, found {len(payload) - start} bytes for {num_runs.sum()} runs"
        )
    runs = np.frombuffer(payload, np.uint8, offset=start).reshape(4, -1).T.copy().view("<u4")
    pairs = runs.astype(np.int64).reshape(-1, 2)
    problem = _excess(len(payload), int(pairs[:, 1].sum()))
    if problem:
        raise ValueError(f"{owner}: {problem}")
    if not np.isfinite(scores).all():
        raise ValueError(f"{expected} with finite scores, found others")
    masks = np.split(pairs, np.cumsum(num_runs)[:-1]) if count else []
    instances = [
        Instance(class_id, score, _indices(mask, count_of_vertices, expected))
        for class_id, score, mask in zip(class_ids.tolist(), scores.tolist(), masks, strict=True)
    ]
    return instances, count_of_vertices


def write_masks(
    path: str | pathlib.Path,
    instances: Sequence[Instance],
    num_vertices: int,
    overwrite: bool = False,
) -> None:
    """Writes a scene's masks; the file appears whole or not at all.

    Args:
        path: `<scene>.masks`.
        instances: see `encode_masks`.
        num_vertices: number of vertices of the scan.
        overwrite: replace a file that exists.

    Raises:
        ValueError: see `encode_masks`; the file exists, or can't be written.
    """
    data = encode_masks(instances, num_vertices, f"scene {pathlib.Path(path).stem}")
    with files.writing_file(path, overwrite) as temporary:
        temporary.write_bytes(data)


def read_masks(
    path: str | pathlib.Path, num_vertices: int | None = None
) -> tuple[list[Instance], int]:
    """Reads a scene's masks, and the number of its vertices.

    Args:
        path: `<scene>.masks`.
        num_vertices: how many are expected; None for any number.

    Raises:
        ValueError: a file that is missing or damaged, is none of masks, or is of another number
            of vertices.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: expected a readable file, found: {error.strerror}") from error
    return decode_masks(data, str(path), num_vertices)


def _unpack(data: bytes, expected: str) -> bytes:
    """Returns what is packed in a file, of at most `_MOST_BYTES`."""
    if not data.startswith(_MAGIC):
        raise ValueError(f"{expected}, which begin with {_MAGIC!r}, found {data[:8]!r}")
    unpacking = zlib.decompressobj()
    try:
        payload = unpacking.decompress(data[len(_MAGIC) :], _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"{expected}, found damage: {error}") from error
    if not unpacking.eof or unpacking.unused_data or len(payload) < _COUNTS.size:
        found = "more behind them" if unpacking.unused_data else "a file that is cut or too large"
        raise ValueError(f"{expected}, found {found}")
    return payload


def _excess(num_bytes: int, covered: int) -> str:
    """Returns what is too much, as the end of a sentence; empty where nothing is."""
    if num_bytes > _MOST_BYTES:
        return f"expected run lengths of at most {_MOST_BYTES} bytes, found {num_bytes}"
    if covered > _MOST_MEMBERS:
        return f"expected masks of at most {_MOST_MEMBERS} vertices in all, found {covered}"
    return ""


def _indices(runs: Array, num_vertices: int, expected: str) -> Array:
    """Returns int32 [k], the vertices of a mask, of its runs int64 [R, 2]."""
    ends = runs.reshape(-1).cumsum()[1::2]
    lengths = runs[:, 1]
    if len(runs) and (ends[-1] > num_vertices or not lengths.all() or not runs[1:, 0].all()):
        raise ValueError(f"{expected} within {num_vertices} vertices and apart, found others")
    # A vertex is as far behind its rank in the mask as vertices before it do not belong there.
    return np.repeat(ends - lengths.cumsum(), lengths).astype(np.int32) + np.arange(
        lengths.sum(), dtype=np.int32
    )
