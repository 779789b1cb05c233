"""The models of one worker process, each loaded once."""

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from config.settings import settings
from worker.pose.estimator import PoseEstimator

if TYPE_CHECKING:
    from worker.cloth.unet import ClothSegmenter
    from worker.parsing.network import ParserNetwork
    from worker.viton_hd.cascade import Cascade


class Models:
    """Loads a model when it is first asked for.

    A worker asks for those of its stages before it reports ready; the command line and the tests ask as
    they go.
    """

    def __init__(self, models_dir: Path, device: str = "cpu") -> None:
        self.models_dir = models_dir
        self.device = device

    @property
    def batch(self) -> int:
        """How many pictures of different jobs are drawn at once; on the processor more only cost memory."""
        return settings().batch or (4 if self.device.startswith("cuda") else 1)

    @cached_property
    def pose_estimator(self) -> PoseEstimator:
        """MediaPipe's pose landmarker. Raises WeightsMissingError when its files are not there."""
        return PoseEstimator(self.models_dir)

    @cached_property
    def cloth_segmenter(self) -> "ClothSegmenter":
        """The garment mask's network. Raises WeightsMissingError when its weights are not there."""
        from worker.cloth.unet import ClothSegmenter  # imports torch

        return ClothSegmenter(self.models_dir, self.device)

    @cached_property
    def parser(self) -> "ParserNetwork":
        """The human parser's network. Raises WeightsMissingError when its weights are not there."""
        from worker.parsing.files import files
        from worker.parsing.network import ParserNetwork  # imports torch

        return ParserNetwork(*files(self.models_dir, settings().parser_weights), self.device)

    @cached_property
    def cascade(self) -> "Cascade":
        """VITON-HD's networks. Raises WeightsMissingError when their weights are not there."""
        # What torch compiles for the cascade is kept beside the models: the next worker starts sooner.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(self.models_dir.absolute() / "compiled"))
        from worker.viton_hd.cascade import Cascade  # imports torch
        from worker.viton_hd.files import files

        networks = files(self.models_dir, settings().viton_hd_weights)
        cascade = Cascade.load(*networks, device=self.device, batch=self.batch)
        if cascade.device.type == "cuda":
            cascade.prepare()  # the first time minutes of compiling: not while a job waits
        return cascade

    def load(self, names: tuple[str, ...]) -> None:
        """Load the models of these names now."""
        for name in names:
            getattr(self, name)

    def close(self) -> None:
        """Release what holds native resources."""
        if "pose_estimator" in self.__dict__:
            self.pose_estimator.close()
            del self.pose_estimator
