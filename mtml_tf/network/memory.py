"""How much memory the network takes, and how much there is."""

import math
import pathlib
import sys

from mtml_tf.config import NetworkConfig

_GIB = 1 << 30
_CGROUP = pathlib.Path("/sys/fs/cgroup")
_MEMINFO = pathlib.Path("/proc/meminfo")

# Bytes that a call adds at half width and float32: for each voxel of the grid, for each occupied
# voxel, for each channel of a voxel of the grid, for each channel of an occupied voxel. Never less
# than was measured in furnished rooms with 3 to 15 % occupied voxels, 20 classes and up to 512
# features, and at most twice as much.
_FORWARD = {"occupied": (360, 400, 0, 28), "dense": (1200, 0, 8, 0)}
_TRAINING = {"occupied": (500, 14_000, 0, 80), "dense": (2250, 0, 8, 0)}
_RECOMPUTED = (200, 10_500, 0, 90)
# A tensor of a convolution must have less than 2^31 elements; at full resolution and width 1 it
# has 32 a voxel, and the scattered layer's twice as many in a flat grid.
MOST_VOXELS = 1 << 25


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
    return ValueError(
        f"{owner}: expected a grid that fits into memory, found "
        f"{' x '.join(str(size) for size in grid_shape)} voxels of {voxel_size:g} m, which need "
        f"about {needed / _GIB:.3g} GiB where {available / _GIB:.3g} GiB are available; {advice}"
    )


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
    """Returns the memory, bytes, that a new process can have without swapping.

    What a container may still take counts where it is less. Where a system does not tell, nothing
    is refused.
    """
    least = sys.maxsize
    limit = _CGROUP / "memory.max"
    if limit.is_file() and (text := limit.read_text(encoding="ascii").strip()).isdecimal():
        least = max(0, int(text) - _used_by_container())
    if _MEMINFO.is_file():
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return min(least, int(line.split()[1]) * 1024)
    return least


def _used_by_container() -> int:
    """Returns the memory, bytes, that a container uses, but for cached files."""
    used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines():
        if line.startswith("inactive_file "):
            return used - int(line.split()[1])
    return used
