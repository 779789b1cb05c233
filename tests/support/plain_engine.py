"""A minimal engine: it fills half of the photograph with the colour of the garment."""

from typing import ClassVar

from worker.contract import Bundle, Engine, Host, StageInput


class PlainEngine(Engine):
    """Fills the upper half of the photograph with the garment's mean colour."""

    name: ClassVar[str] = "plain"
    categories: ClassVar[tuple[str, ...]] = ("upper_body", "dresses")
    batches: ClassVar[bool] = True

    def digests(self):
        return {"plain-weights": "0" * 64}

    def load(self, host: Host):
        return {"device": host.device}

    def draw(self, model, inputs: StageInput) -> Bundle:
        from worker.images.inputs import person_photo

        picture = person_photo(inputs).copy()
        garment = inputs.artifacts["cloth"]
        inside = garment["mask.png"] >= 128
        picture[: len(picture) // 2] = garment["cloth.png"][inside].mean(0)
        return {"result.png": picture, "details.json": {"device": model["device"]}}

    def draw_batch(self, model, batch):
        return [self.draw(model, inputs) for inputs in batch]
