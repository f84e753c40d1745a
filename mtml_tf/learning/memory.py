"""How much memory the network takes, and how much there is."""

import math
import pathlib
import sys

from mtml_tf.config import NetworkConfig

_GIB = 1 << 30
_CGROUP = pathlib.Path("/sys/fs/cgroup")
_MEMINFO = pathlib.Path("/proc/meminfo")

# Bytes that a call adds for each voxel of the grid, occupied or not, at half width and float32;
# measured by tools/benchmark.py at 3 to 14 % occupied voxels (occupied execution: 260 to 360 and
# 870 to 2230, with activations computed again 500 to 2130; dense: 1270 and 2350).
_FORWARD = {"occupied": 360, "dense": 1300}
_TRAINING = {"occupied": 2200, "dense": 2400}
_RECOMPUTED = 1800
# A tensor of a convolution must have less than 2^31 elements; at full resolution and width 1 it
# has 32 a voxel, and the scattered layer's twice as many in a flat grid.
MOST_VOXELS = 1 << 25


def bytes_per_voxel(
    config: NetworkConfig,
    execution: str = "occupied",
    is_training: bool = False,
    recompute: bool = False,
) -> float:
    """Returns about how much memory a scene takes for each voxel of its grid, bytes.

    Args:
        config: of the network.
        execution: `occupied` or `dense`.
        is_training: a step of training, with gradients, and not a forward pass alone.
        recompute: see `VoxelNetwork`.
    """
    if not is_training:
        at_half_width = _FORWARD[execution]
    else:
        at_half_width = _RECOMPUTED if recompute else _TRAINING[execution]
    return at_half_width * config.width / 0.5


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
