"""Labels for scans that have none, as the instance networks take them."""

import dataclasses
from typing import Any

from absl import logging

from mtml_tf.classes import ClassSet
from mtml_tf.scans import semantic_input
from mtml_tf.scene import Scene
from mtml_tf.semantic.points import point_scene
from mtml_tf.semantic.predicting import MUCH_DOUBT, SemanticSource, told_of_doubt
from mtml_tf.semantic.prediction import share_of_doubt


@dataclasses.dataclass(frozen=True)
class SemanticLabels:
    """Labels scans by a semantic model; can be sent to another process.

    Attributes:
        source: the model.
    """

    source: SemanticSource

    def settings(self) -> dict[str, Any]:
        """Returns all that labels depend on beside the scan, as JSON has it."""
        return self.source.settings()

    def __call__(self, scene: Scene, classes: ClassSet) -> Scene:
        """Returns the scan with a class for each vertex, and the probabilities as features.

        Args:
            scene: in metres and z up, without labels.
            classes: those that the labels must be of.

        Raises:
            ValueError: a model of other classes, a scan that lacks what the model was trained on,
                or one that is too large.
        """
        loaded = self.source.load()
        if loaded[0].description.classes != classes:
            raise ValueError(
                f"{self.source.path}: expected a semantic model of the classes "
                f"{', '.join(classes.names)}, which the instance model takes, found one of "
                f"{', '.join(loaded[0].description.classes.names)}"
            )
        probabilities, _ = self.source.predict(point_scene(scene))
        doubt = share_of_doubt(probabilities)
        if doubt > MUCH_DOUBT:
            logging.warning("scan %s: %s", scene.name, told_of_doubt(doubt, self.source.adapt))
        else:
            logging.info(
                "scan %s: %.0f %% of the vertices have a class with less than half of the "
                "probability",
                *(scene.name, 100 * doubt),
            )
        ids = semantic_input.best_classes(probabilities, classes)
        return dataclasses.replace(
            scene, semantic_ids=ids, features=probabilities, instance_ids=None
        )
