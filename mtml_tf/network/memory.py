"""How much memory the network takes, and how much there is."""

import contextlib
import math
import pathlib
import re
import sys
from collections.abc import Iterator

from mtml_tf.backend import gpu_memory_limits, tf
from mtml_tf.config import NetworkConfig

_GIB = 1 << 30
_MEMINFO = pathlib.Path("/proc/meminfo")
_OWN_CGROUPS = pathlib.Path("/proc/self/cgroup")
_CGROUPS = pathlib.Path("/sys/fs/cgroup")
# Of a control group (version 2, version 1): limit, use, and the part of it that is cached files.
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")

# Bytes that a call adds at half width and float32: for each voxel of the grid, for each occupied
# voxel, for each channel of a voxel of the grid, for each channel of an occupied voxel. Never less
# than was measured in furnished rooms with 3 to 15 % occupied voxels, 20 classes and up to 512
# features, and at most twice as much; with oneDNN, without which convolutions take up to four times
# as much on a CPU.
_FORWARD = {"occupied": (360, 400, 0, 28), "dense": (1200, 0, 8, 0)}
_TRAINING = {"occupied": (500, 14_000, 0, 80), "dense": (2250, 0, 8, 0)}
_RECOMPUTED = (200, 10_500, 0, 90)


def bytes_per_voxel(
    config: NetworkConfig,
    occupancy: float,
    execution: str = "occupied",
    is_training: bool = False,
    recompute: bool = False,
) -> float:
    """Returns about how much memory a scene takes for each voxel of its grid, bytes.

    Args:
        config: of the network.
        occupancy: share of the grid's voxels that are occupied, 0..1.
        execution: `occupied` or `dense`.
        is_training: a step of training, with gradients, and not a forward pass alone.
        recompute: see `VoxelNetwork`.
    """
    if not is_training:
        parts = _FORWARD[execution]
    else:
        parts = _RECOMPUTED if recompute else _TRAINING[execution]
    anywhere, occupied, channel, occupied_channel = parts
    of_activations = (anywhere + occupancy * occupied) * config.width / 0.5
    return of_activations + (channel + occupancy * occupied_channel) * config.input_channels


def too_large(
    owner: str,
    grid_shape: tuple[int, int, int],
    voxel_size: float,
    needed: float,
    available: float,
    advice: str,
) -> ValueError:
    """Returns the error that tells of a grid that memory does not hold.

    Args:
        owner: what the grid belongs to, as it is named in the sentence.
        grid_shape: (X, Y, Z), voxels.
        voxel_size: edge length, metres.
        needed: memory that it takes, bytes.
        available: memory that there is, bytes.
        advice: what to do, the end of the sentence.
    """
    on_gpu = " of a GPU" if computes_on_gpu() else ""
    return ValueError(
        f"{owner}: expected a grid that fits into memory, found "
        f"{in_words(grid_shape)} voxels of {voxel_size:g} m, which need about "
        f"{needed / _GIB:.3g} GiB where {available / _GIB:.3g} GiB{on_gpu} are available; {advice}"
    )


def in_words(grid_shape: tuple[int, int, int]) -> str:
    """Returns a grid's sizes, such as `96 x 104 x 40`."""
    return " x ".join(str(size) for size in grid_shape)


def check_grid(
    owner: str,
    grid_shape: tuple[int, int, int],
    voxel_size: float,
    bytes_per_voxel: float,
    advice: str,
) -> None:
    """Raises ValueError (see `too_large`) where a grid needs more memory than there is."""
    needed, available = math.prod(grid_shape) * bytes_per_voxel, available_memory()
    if needed > available:
        raise too_large(owner, grid_shape, voxel_size, needed, available, advice)


def available_memory() -> int:
    """Returns the memory, bytes, that the network can have without swapping.

    That of the GPU where TensorFlow computes on one; otherwise the machine's, or what the control
    groups of this process may still take where it is less. Where a system does not tell, nothing
    is refused.
    """
    if computes_on_gpu():
        return _gpu_memory()
    least = min(_left_to_cgroups(), default=sys.maxsize)
    if _MEMINFO.is_file():
        found = re.search(r"^MemAvailable: +(\d+) kB$", _MEMINFO.read_text("ascii"), re.MULTILINE)
        if found:
            least = min(least, int(found[1]) * 1024)
    return least


def computes_on_gpu() -> bool:
    """Whether TensorFlow computes on a GPU here."""
    return bool(tf.config.list_logical_devices("GPU"))


def _gpu_memory() -> int:
    """Returns the memory, bytes, that TensorFlow may still take of the GPU with the least of it."""
    least = sys.maxsize
    try:
        for name, limit in gpu_memory_limits().items():
            used = tf.config.experimental.get_memory_info(name)["current"]
            least = min(least, max(0, limit - used))
    except (tf.errors.OpError, RuntimeError, ValueError):  # devices that do not tell
        pass
    return least


def _left_to_cgroups() -> Iterator[int]:
    """Yields the memory, bytes, that the control groups of this process may each still take.

    A group is within the one that its folder lies in, whose limit counts too. In a container the
    folders may begin with the container's own.
    """
    lines = ["0::/"]
    with contextlib.suppress(OSError):
        lines = _OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = _CGROUPS / "memory" if controllers else _CGROUPS
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            with contextlib.suppress(OSError):
                yield from _left_to(folder, *(_VERSION_1 if controllers else _VERSION_2))
            if folder == root:
                break


def _left_to(folder: pathlib.Path, limit: str, use: str, cached: str) -> Iterator[int]:
    """Yields what a group with a limit may still take; raises OSError where there is no group."""
    most = (folder / limit).read_text(encoding="ascii").strip()
    if most.isdecimal():  # `max` where there is none
        used = int((folder / use).read_text(encoding="ascii"))
        stat = (folder / "memory.stat").read_text(encoding="ascii")
        found = re.search(rf"^{cached} (\d+)$", stat, re.MULTILINE)
        yield max(0, int(most) - used + (int(found[1]) if found else 0))
