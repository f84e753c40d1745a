"""Every setting of the semantic network, as frozen data classes.

The defaults are those of the small configuration of SparseConvNet's ScanNet example (Graham,
Engelcke, van der Maaten, CVPR 2018); where it says nothing, the field says that they are ours.
"""

import dataclasses
import math

from mtml_tf.config import RunConfig, require, require_at_least_0

COLOR, GEOMETRY = "color", "geometry"
# What each kind of input is, by channel.
CHANNELS = {
    COLOR: ("red", "green", "blue"),
    GEOMETRY: ("height", "upright", "roughness"),
}


@dataclasses.dataclass(frozen=True)
class SemanticNetworkConfig:
    """The network, and what its voxels are.

    Attributes:
        num_classes: as many as the class set of the data has.
        inputs: what the network is told of a voxel, beside that it is there: `color` and
            `geometry` (height above the floor, how upright the normal stands, roughness; not in
            SparseConvNet), one or both.
        voxel_size: edge length of a voxel, metres; 0.05 small, 0.02 large.
        planes: m, of the finest level; each coarser one has m more. 16 small, 32 large.
        block_reps: blocks of a level, on the way down and on the way up; 1 small, 2 large.
        residual: blocks of two convolutions with a sum around them, as the large network has.
        num_levels: resolutions.

    Raises:
        ValueError: a value out of range.
    """

    num_classes: int = 20
    inputs: tuple[str, ...] = (COLOR,)
    voxel_size: float = 0.05
    planes: int = 16
    block_reps: int = 1
    residual: bool = False
    num_levels: int = 7

    def __post_init__(self) -> None:
        require(self.num_classes >= 1, "num_classes of at least 1", self.num_classes)
        known = [kind for kind in CHANNELS if kind in self.inputs]
        require(
            bool(known) and sorted(known) == sorted(self.inputs),
            f"inputs among {','.join(CHANNELS)}, each once",
            ",".join(self.inputs),
        )
        object.__setattr__(self, "inputs", tuple(known))  # the order of the channels
        require(0 < self.voxel_size < math.inf, "a voxel_size above 0", self.voxel_size)
        for name in ("planes", "block_reps", "num_levels"):
            require(getattr(self, name) >= 1, f"{name} of at least 1", getattr(self, name))

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the input channels, in order."""
        return tuple(channel for kind in self.inputs for channel in CHANNELS[kind])


@dataclasses.dataclass(frozen=True)
class SemanticDataConfig:
    """How scans are varied and put together in training.

    Attributes:
        batch_size: scenes a step, over all replicas. 32 in the example, which needs a GPU's memory.
        seed: draws the first weights, the order of the scenes and their variation.
        distortion: deviation of the entries of the matrix I + N(0, distortion) that a scene's
            coordinates are multiplied by.
        mirror: mirror a scene along x with probability 0.5.
        rotation: turn a scene about the vertical axis by any angle.
        elastic: bend a scene by two smooth random fields, of (0.12 m, 0.8 m) and (0.4 m, 3.2 m)
            as (grain, strength); off in the example.
        color_shift: deviation of what is added to each colour channel (-1 to 1) of a scene.
        color_gain: deviation of the logarithm of what each channel's brightness is multiplied by.
            Ours.
        color_loss: share of the scenes whose colours are all 0, so that the network does not rely
            on them. Ours; it needs `geometry` among the inputs.
        least_density: of a scene's vertices a random share is kept, from so much to all of them.
            Ours: scans differ in how dense they are.
        max_sites: a step has no more sites than so many: scenes are cut to a window around one of
            their points; 0 for no limit. Ours.

    Raises:
        ValueError: a value out of range.
    """

    batch_size: int = 4
    seed: int = 0
    distortion: float = 0.1
    mirror: bool = True
    rotation: bool = True
    elastic: bool = False
    color_shift: float = 0.1
    color_gain: float = 0.0
    color_loss: float = 0.0
    least_density: float = 1.0
    max_sites: int = 0

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "a batch_size of at least 1", self.batch_size)
        require(0 <= self.seed < 1 << 32, "a seed of 0 to 4294967295", self.seed)
        require_at_least_0(self, "distortion", "color_shift", "color_gain", "max_sites")
        require(0 <= self.color_loss <= 1, "color_loss in 0..1", self.color_loss)
        require(
            self.max_sites == 0 or self.max_sites >= self.batch_size,
            "max_sites of 0, or at least one for each scene of a batch",
            self.max_sites,
        )
        require(0 < self.least_density <= 1, "a least_density of 0 to 1", self.least_density)


@dataclasses.dataclass(frozen=True)
class SemanticTrainConfig(RunConfig):
    """How the network is trained.

    Attributes:
        class_balance: exponent b by which rare classes count more in the loss: a point by the share
            of its class in the batch to the power of -b. 0 for none, as the example has it; ours.
        folds: parts that the training scenes are dealt into; a network is trained for each, which
            never sees it. 0 for one network of all scenes.
        init_from: run folder whose weights of equal name and shape are taken at the start; empty
            for none.

    Raises:
        ValueError: a value out of range.
    """

    epochs: int = 512
    learning_rate: float = 1e-3
    class_balance: float = 0.0
    folds: int = 0
    init_from: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.folds == 0 or self.folds >= 2, "0 folds or at least 2", self.folds)
        require_at_least_0(self, "class_balance")
