"""What a producer may ask for, checked at the door."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from config.errors import InputValidationError
from worker.stages.engines import ENGINES
from worker.stages.table import AUTO


class TryonRequest(BaseModel):
    """A try-on as it was asked for: two object keys and the options."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    person_key: str = Field(min_length=1, max_length=1024)
    cloth_key: str = Field(min_length=1, max_length=1024)
    engine: str = AUTO
    category: str = "upper_body"
    seed: int = Field(0, ge=0, lt=2**32)
    output_format: Literal["png", "jpeg", "webp"] = "png"
    priority: int = Field(0, ge=0, le=9)
    idempotency_key: str | None = Field(None, min_length=1, max_length=255)

    @field_validator("person_key", "cloth_key", "idempotency_key")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("it holds characters that cannot be printed")
        return value

    @field_validator("engine")
    @classmethod
    def _engine_is_registered(cls, value: str) -> str:
        names = (AUTO, *(engine.name for engine in ENGINES))
        if value not in names:
            raise ValueError(f"it must be one of {', '.join(names)}")
        return value

    @field_validator("category")
    @classmethod
    def _engine_draws_category(cls, value: str, info: ValidationInfo) -> str:
        name = info.data.get("engine", AUTO)
        able = [engine for engine in ENGINES if name in (AUTO, engine.name)]
        categories = sorted({category for engine in able for category in engine.categories})
        if value not in categories:
            raise ValueError(f"the engine {name} draws {', '.join(categories)}")
        return value

    @classmethod
    def parse(cls, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> "TryonRequest":
        """Return the request that a call's arguments make.

        Raises InputValidationError naming every argument that is not acceptable.
        """
        if len(arguments) > 2:
            raise InputValidationError(
                f"tryon takes two positional arguments, person_key and cloth_key, not {len(arguments)}; "
                "give the options by name."
            )
        named = dict(zip(("person_key", "cloth_key"), arguments, strict=False))
        twice = sorted(named.keys() & options.keys())
        if twice:
            raise InputValidationError(f"{twice[0]} was given twice.", input=twice[0])
        try:
            return cls(**(named | dict(options)))
        except ValidationError as error:
            problems = [(".".join(map(str, item["loc"])), item["msg"]) for item in error.errors()]
            raise InputValidationError(
                "The request is not acceptable: " + "; ".join(f"{name}: {text}" for name, text in problems),
                input=problems[0][0],
            ) from error

    def options(self) -> dict[str, Any]:
        """Return the options as the job's row keeps them."""
        return self.model_dump(exclude={"person_key", "cloth_key", "idempotency_key"})
