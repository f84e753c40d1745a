"""Every setting of the method, as frozen data classes.

Where the paper names a value, it is the default. Where it names none, the default is the one in
the authors' code or our own, and the field says which.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

EXECUTIONS = ("occupied", "dense")
PRECISIONS = ("float32", "bfloat16")


def require(condition: bool, expected: str, found: object) -> None:
    """Raises ValueError with what was expected and what was found, unless the condition holds."""
    if not condition:
        raise ValueError(f"expected {expected}, found {found}")


def require_at_least_0(config: object, *names: str) -> None:
    """Refuses negative values, infinity and NaN."""
    for name in names:
        value = getattr(config, name)
        require(0 <= value < math.inf, f"{name} of at least 0", value)


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The network of paper section 3.1 (Figure 2).

    Attributes:
        input_channels: C, one for each class (one-hot) or the length of the feature vectors.
        width: multiplies every number of filters but the last layer's; 0.5 as the authors
            trained, 1.0 as the original SSCNet.
        dilations: of the two dilated blocks; (7, 7) gives the paper's receptive field of
            142 voxels: 30 + 8 * sum(dilations).
        embedding_size: E, length of the feature embedding. The paper names no value; 4 is in the
            authors' code.
        num_labels: L, one for each class and one for none of them, where the network tells which
            label each voxel should have; 0 where it does not. Not in the paper.

    Raises:
        ValueError: a value out of range.
    """

    input_channels: int = 20
    width: float = 0.5
    dilations: tuple[int, int] = (7, 7)
    embedding_size: int = 4
    num_labels: int = 0

    def __post_init__(self) -> None:
        require(self.input_channels >= 1, "input_channels of at least 1", self.input_channels)
        require(1 <= self.width * 16 < math.inf, "a width of at least 1/16", self.width)
        require(
            len(self.dilations) == 2 and min(self.dilations) >= 1,
            "two dilations of at least 1",
            self.dilations,
        )
        require(self.embedding_size >= 1, "an embedding_size of at least 1", self.embedding_size)
        require(
            self.num_labels in (0, self.input_channels + 1),
            "num_labels of 0, or one more than the input_channels",
            self.num_labels,
        )

    def filters(self, full_width: int) -> int:
        """Returns the number of filters of a layer that has `full_width` at width 1."""
        return max(1, round(full_width * self.width))


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """The multi-task loss of paper section 3.2.

    Attributes:
        delta_var: radius within which a feature is not pulled (Eq. 2). The paper names no value;
            0.5 is in the authors' code.
        delta_dist: half the distance beyond which centres are not pushed (Eq. 3). The paper names
            no value; 1.5 is in the authors' code.
        gamma_var: weight of the variance term, which pulls features together (Eq. 1).
        gamma_dist: weight of the distance term, which pushes instances apart (Eq. 1).
        gamma_reg: weight of the regularization, which keeps features near the origin (Eq. 1).
        alpha_feature: weight of the feature embedding loss in Eq. 6 (alpha_FE); 0 trains the
            direction alone.
        alpha_direction: weight of the direction loss in Eq. 6 (alpha_dir); 0 is 'FE only'.
        alpha_label: weight of the label loss. Above 0 the network has a third output, which
            corrects the labels that it gets: it learns the true label of each voxel, where the
            input errs. Not in the paper.

    Raises:
        ValueError: a negative value, or neither features nor directions to learn.
    """

    delta_var: float = 0.5
    delta_dist: float = 1.5
    gamma_var: float = 1.0
    gamma_dist: float = 1.0
    gamma_reg: float = 0.001
    alpha_feature: float = 0.5
    alpha_direction: float = 1.0
    alpha_label: float = 0.0

    def __post_init__(self) -> None:
        require_at_least_0(self, *dataclasses.asdict(self))
        gammas = self.gamma_var + self.gamma_dist + self.gamma_reg
        require(
            self.alpha_feature * gammas + self.alpha_direction > 0,
            "alpha_feature or alpha_direction above 0 and a term with a weight",
            "none",
        )


@dataclasses.dataclass(frozen=True)
class SegmentConfig:
    """The post-processing of paper section 3.2: proposals, scores, suppression.

    Attributes:
        thing_ids: ids of the classes that have instances; all other voxels take no part.
        size_statistics: for each class id, mean and standard deviation of the natural logarithm
            of the number of voxels of its training instances. A class that is missing here gets
            the size score 1 for every size.
        probability_ids: class ids of the columns of the scenes' features where these are class
            probabilities: a proposal then gets the thing of the largest sum. Empty where they are
            not: it gets the label that most of its voxels have.
        label_ids: class ids of the columns of the labels that the network tells, 0 for none of the
            classes. Empty where it tells none.
        score_trees: the learned score, as `learned_score.Trees.to_dict` gives it; None where
            there is none.
        bandwidths: of the mean shift on the feature embedding, in units of the embedding. The
            paper takes several and names none; ours.
        propose_clusters: mean-shift clusters are proposals.
        propose_cluster_components: so are the spatially connected parts of each cluster.
        propose_label_components: so are the connected components of the input labels.
        connectivity: 6 (faces), 18 (and edges) or 26 (and corners) neighbours of a voxel.
        feature_threshold: distance to the proposal's mean feature, in units of the embedding,
            within which a voxel's feature counts as coherent. The paper names no value; ours.
        direction_weight: exponent of the direction score in the final one, a weighted geometric
            mean (see `segmentation/scores.py`); 0 is 'FE only'. This and the next two are ours.
        feature_weight: exponent of the feature score in the final one.
        size_weight: exponent of the size score in the final one.
        label_weight: exponent of the label score in the final one, where the network tells labels
            (`alpha_label`): how likely a proposal's voxels have the label that it has. Not in the
            paper.
        learned_score: the final score is the model's learned one, which
            `experiments.learn_scores` makes, instead of the weighted mean. Ours.
        suppression_iou: a proposal whose intersection over union with a better one of the same
            class is larger is dropped. The paper names no value; ours.
        min_voxels: smaller proposals are dropped. Ours.
        min_score: instances of a lower final score, from 0 to 1, are left out; 0 keeps all, which
            average precision wants. Ours.
        coherent: one label a voxel (toy, paper section 4.1): each voxel stays with the best
            instance that has it, whatever its class. Otherwise instances may overlap.

    Raises:
        ValueError: a value out of range.
    """

    thing_ids: tuple[int, ...]
    size_statistics: Mapping[int, tuple[float, float]] = dataclasses.field(default_factory=dict)
    probability_ids: tuple[int, ...] = ()
    label_ids: tuple[int, ...] = ()
    score_trees: Mapping[str, Any] | None = None
    bandwidths: tuple[float, ...] = (0.6, 1.0, 1.5)
    propose_clusters: bool = True
    propose_cluster_components: bool = True
    propose_label_components: bool = True
    connectivity: int = 6
    feature_threshold: float = 1.0
    direction_weight: float = 2.0
    feature_weight: float = 0.5
    size_weight: float = 0.5
    label_weight: float = 3.0
    learned_score: bool = False
    suppression_iou: float = 0.3
    min_voxels: int = 10
    min_score: float = 0.0
    coherent: bool = False

    def __post_init__(self) -> None:
        require(bool(self.thing_ids), "at least one thing class", "none")
        require(
            not self.probability_ids or set(self.thing_ids) <= set(self.probability_ids),
            f"a column of probabilities for each of the things {self.thing_ids}",
            self.probability_ids,
        )
        require(
            not self.label_ids or set(self.thing_ids) <= set(self.label_ids),
            f"a label for each of the things {self.thing_ids}",
            self.label_ids,
        )
        require(
            all(0 < bandwidth < math.inf for bandwidth in self.bandwidths),
            "bandwidths above 0",
            self.bandwidths,
        )
        require(
            all(std > 0 for _, std in self.size_statistics.values()),
            "standard deviations above 0 in size_statistics",
            dict(self.size_statistics),
        )
        require(
            not self.learned_score or self.score_trees is not None,
            "a model with a learned score (experiments.learn_scores makes it) for learned_score",
            "none",
        )
        require(self.connectivity in (6, 18, 26), "connectivity 6, 18 or 26", self.connectivity)
        require(self.feature_threshold > 0, "a feature_threshold above 0", self.feature_threshold)
        require(0 <= self.suppression_iou <= 1, "suppression_iou in 0..1", self.suppression_iou)
        require(self.min_voxels >= 1, "min_voxels of at least 1", self.min_voxels)
        require(0 <= self.min_score <= 1, "min_score in 0..1", self.min_score)
        require_at_least_0(
            self, "direction_weight", "feature_weight", "size_weight", "label_weight"
        )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What the network is fed (paper section 3.3).

    Attributes:
        batch_size: scenes a step, over all replicas.
        flips: mirror a training scene along x and along y, each with probability 0.5.
        rotations: turn a training scene about the vertical axis by any angle.
        origins: begin the grid of a training scene anywhere within a voxel, so that no object
            learns its place on the grid. Not in the paper.
        stretch: multiply the sizes of a training scene by factors that differ from 1 by at most
            so much, one for its height and another one for length and width. Not in the paper.
        warp: bend a training scene smoothly, by at most so many metres along each axis, with
            waves of 20 to 60 times that length. Not in the paper.
        holes: leave out what lies in a few balls (0 to 5) of a training scene, of radii of at
            most so many metres. Not in the paper.
        unannotated: share of the objects of a training scene that lose instance and label, and so
            are neither a target nor named in the input, and their true label is none
            (`alpha_label`). Not in the paper.
        surroundings: learn features of what is no object too: stuff and what nobody labelled are
            then one more instance for each true label, which has no direction. What a semantic
            network calls an object and is none can so be told from the object. Not in the paper.
        crop: train on a window of at most so many voxels along x and y, at a random place of a
            larger scene; 0 for whole scenes. Not in the paper.
        bucket_scenes: sort so many scenes of the random order by size before they are cut into
            batches, whose order is random again: scenes of a batch are then alike, and little is
            padded. 1 sorts nothing. Not in the paper.
        seed: draws the first weights, the order of the scenes and their augmentation. The same
            seed gives the same run.

    Raises:
        ValueError: a value out of range.
    """

    batch_size: int = 2
    flips: bool = True
    rotations: bool = True
    origins: bool = False
    stretch: float = 0.0
    warp: float = 0.0
    holes: float = 0.0
    unannotated: float = 0.0
    surroundings: bool = False
    crop: int = 0
    bucket_scenes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "a batch_size of at least 1", self.batch_size)
        require(0 <= self.stretch < 1, "a stretch of 0 to below 1", self.stretch)
        require_at_least_0(self, "warp", "holes", "crop")
        require(0 <= self.unannotated <= 1, "unannotated in 0..1", self.unannotated)
        require(self.bucket_scenes >= 1, "bucket_scenes of at least 1", self.bucket_scenes)
        require(0 <= self.seed < 1 << 32, "a seed of 0 to 4294967295", self.seed)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """How long, how fast and where a network is trained.

    Attributes:
        epochs: passes over the training scenes.
        learning_rate: of Adam.
        decay: `constant` (as published) or `cosine` (falls to 0 over the epochs).
        checkpoint_every: a checkpoint every so many steps, and at the end of every epoch.
        max_minutes: stop after so many minutes, to be resumed later; 0 for no limit.
        strategy: devices that share each batch evenly: `auto` (as many of the GPUs as can),
            `mirrored` (all of them), `default` (one) or `multiworker` (all of the machines that
            TF_CONFIG names).

    Raises:
        ValueError: a value out of range.
    """

    epochs: int = 100
    learning_rate: float = 5e-4
    decay: str = "constant"
    checkpoint_every: int = 500
    max_minutes: float = 0.0
    strategy: str = "auto"

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "at least 1 epoch", self.epochs)
        require(0 < self.learning_rate < math.inf, "a learning_rate above 0", self.learning_rate)
        require(self.decay in ("constant", "cosine"), "decay constant or cosine", self.decay)
        require(
            self.strategy in ("auto", "default", "mirrored", "multiworker"),
            "strategy auto, default, mirrored or multiworker",
            self.strategy,
        )
        require(self.checkpoint_every >= 1, "checkpoint_every of at least 1", self.checkpoint_every)
        require_at_least_0(self, "max_minutes")


@dataclasses.dataclass(frozen=True)
class TrainConfig(RunConfig):
    """How the network is trained (paper section 4, 'Setup').

    Attributes:
        validation_split: name of the split to validate on; empty for none.
        validation_scenes: at most so many of its scenes, evenly spaced; 0 for all.
        ap_every: validation AP50 every so many epochs; 0 for never.
        min_vertices: smallest ground truth that counts in the validation AP, in vertices.
        init_from: run folder whose weights of equal shape are taken at the start, those of the
            first layer only where the classes have the same names in the same order; empty for
            none.
        execution: `occupied` (compute only where needed) or `dense` (plain Keras), equal values.
        precision: of activations and products: `float32`, or `bfloat16`, faster where the
            hardware has it and refused where its gradients would be wrong.
        recompute: compute activations again for the gradients instead of keeping them: less
            memory, more time, equal values.
        hashes: when the SHA-256 of the shards are compared with the manifest: `beside` the steps,
            where no checkpoint is written before that is done, or `first`.

    Raises:
        ValueError: a value out of range.
    """

    validation_split: str = ""
    validation_scenes: int = 0
    ap_every: int = 5
    min_vertices: int = 100
    init_from: str = ""
    execution: str = "occupied"
    precision: str = "float32"
    recompute: bool = False
    hashes: str = "beside"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.execution in EXECUTIONS, f"execution {' or '.join(EXECUTIONS)}", self.execution
        )
        require(
            self.precision in PRECISIONS, f"precision {' or '.join(PRECISIONS)}", self.precision
        )
        require(
            not (self.recompute and self.execution == "dense"),
            "execution occupied with recompute",
            self.execution,
        )
        require(self.hashes in ("beside", "first"), "hashes beside or first", self.hashes)
        require_at_least_0(self, "validation_scenes", "ap_every", "min_vertices")
