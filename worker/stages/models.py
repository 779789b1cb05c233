"""The models of one worker process, each loaded once."""

from pathlib import Path
from typing import Any, Self

from config.settings import settings
from worker.contract import Host, Method
from worker.stages import table

CUDA_BATCH = 4
"""Pictures drawn at once on a CUDA device without TRYON_BATCH; on a processor a batch saves no time."""


class Models:
    """Loads a method's model when it is first needed, and keeps it.

    A worker loads the models of its stages before it reports ready. Use it as a context manager, or close it:
    MediaPipe's models are not released otherwise.
    """

    def __init__(self, models_dir: Path, device: str = "cpu") -> None:
        batch = settings().batch or (CUDA_BATCH if device.startswith("cuda") else 1)
        self.host = Host(models_dir, device, batch)
        self._loaded: dict[Method, Any] = {}

    @property
    def device(self) -> str:
        """The device of GPU stages, such as `cuda:1`."""
        return self.host.device

    @property
    def batch(self) -> int:
        """Most pictures of different jobs that are drawn at once."""
        return self.host.batch

    def of(self, method: Method) -> Any:
        """Return the method's model. Raises WeightsMissingError when its files are not there."""
        if method not in self._loaded:
            self._loaded[method] = method.load(self.host)
        return self._loaded[method]

    def of_stage(self, name: str) -> Any:
        """Return the model of the stage's usual method. Raises WeightsMissingError."""
        return self.of(table.method(table.stage(name), device=self.device))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release what holds native resources."""
        for method, model in self._loaded.items():
            method.unload(model)
        self._loaded.clear()
