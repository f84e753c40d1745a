"""Where a model comes from: what a program's flags say, sent to every process that predicts."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from typing import Any

from mtml_tf import __version__
from mtml_tf.data.records import digest
from mtml_tf.inference import exporting, models, shipped


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """A model by its place and settings; a process loads it once, with the first scene.

    One of the first three says where it is.

    Attributes:
        run_dir: run folder of a trained model.
        saved_model: folder of a SavedModel of `mtml_tf.export`.
        model: name of a model of the package.
        weights: see `models.load_model`.
        precision: see `models.load_model`.
        execution: see `models.load_model`.
        changed: settings of `SegmentConfig`, (name, value) each, in place of the model's own.
    """

    run_dir: str = ""
    saved_model: str = ""
    model: str = ""
    weights: str = ""
    precision: str = "float32"
    execution: str = "occupied"
    changed: tuple[tuple[str, Any], ...] = ()

    def load(self) -> models.Model:
        """Returns the model. Raises ValueError where there is none; see `models.load_model`."""
        return _load(self, self.fingerprint)

    def absolute(self) -> "ModelSource":
        """Returns the same model by paths that any working directory understands."""
        run_dir = str(self._run_folder()) if self.run_dir else ""
        return dataclasses.replace(
            self,
            run_dir=run_dir and os.path.abspath(run_dir),
            saved_model=self.saved_model and os.path.abspath(self.saved_model),
        )

    def settings(self) -> dict[str, Any]:
        """Returns all that predictions depend on beside the scene, as JSON gives it back."""
        told = {
            "mtml_tf": __version__,
            "model": self.fingerprint,
            "precision": self.precision,
            "execution": self.execution,
            "segment": dict(self.changed),
        }
        return json.loads(json.dumps(told))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the model's files: the same for a copy, another one after more training."""
        if self.saved_model:
            folder = exporting.version_folder(pathlib.Path(self.saved_model))
            paths = [path for path in folder.rglob("*") if path.is_file()]
        else:
            folder = self._run_folder()
            models.read_model_config(folder)  # tells what is no run folder
            weights = pathlib.Path(models.find_weights(folder, self.weights))
            paths = [folder / models.DESCRIPTION, *weights.parent.glob(f"{weights.name}.*")]
        content = [(path.relative_to(folder).as_posix(), digest(path)) for path in sorted(paths)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _run_folder(self) -> pathlib.Path:
        if self.model:
            return shipped.find_shipped_model(self.model)
        return models.find_run_folder(self.run_dir)


@functools.lru_cache(maxsize=1)
def _load(source: ModelSource, fingerprint: str) -> models.Model:
    """Loads a model; one whose files have changed since is another one."""
    if source.saved_model:
        model = exporting.load_saved_model(source.saved_model)
    else:
        model = models.load_model(
            source._run_folder(), source.weights, source.precision, source.execution
        )
    if dataclasses.replace(source).fingerprint != fingerprint:
        raise ValueError(
            f"{source.run_dir or source.saved_model or source.model}: expected a model that does "
            "not change while it predicts, found other files than at the start; wait for the end "
            "of its training, or predict with a copy"
        )
    return model.with_settings(**dict(source.changed))
