"""The request of a producer, and its validation."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from config.errors import InputValidationError
from db.models import DEFAULT_TENANT, MAX_TENANT_LENGTH
from worker.queue import receivers
from worker.stages.engines import ENGINES
from worker.stages.table import AUTO, OPTION_DEFAULTS

MAX_KEY_LENGTH = 1024
"""Longest accepted object key, characters; S3 accepts 1024 bytes."""

MAX_IDEMPOTENCY_KEY_LENGTH = 255
"""Longest accepted idempotency key, characters: the length of its column."""

MAX_PRIORITY = 9
"""The most urgent priority; brokers have ten levels."""


NOT_OPTIONS = {"person_key", "cloth_key", "idempotency_key", "tenant", "webhook_url", "webhook_events"}
"""Fields of a request that change nothing in the picture and have columns of their own."""


class TryonRequest(BaseModel):
    """A requested try-on: two object keys and the options."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    person_key: str = Field(
        min_length=1, max_length=MAX_KEY_LENGTH, description="Object key of the person's photograph."
    )
    cloth_key: str = Field(
        min_length=1, max_length=MAX_KEY_LENGTH, description="Object key of the garment's photograph."
    )
    engine: str = Field(
        AUTO, description=f"The engine; `{AUTO}` takes the first available one that supports the category."
    )
    category: str = Field("upper_body", description="The garment's category; it must be one of the engine's.")
    quality: Literal["fast", "balanced", "quality"] = Field(
        OPTION_DEFAULTS["quality"],
        description="`fast`, `balanced` or `quality`: the steps of an engine that draws in steps.",
        validate_default=True,
    )
    minimum_score: float | None = Field(
        OPTION_DEFAULTS["minimum_score"],
        ge=0,
        le=1,
        description="A picture of the engine `geometric` with a lower score ends in SynthesisError; "
        "0 accepts all. Unset: `TRYON_MINIMUM_SCORE`.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="0 to 2³²−1; the same seed gives the same picture.")
    output_format: Literal["png", "jpeg", "webp"] = Field(
        "png", description="File format of the result: `png`, `jpeg` or `webp`."
    )
    priority: int = Field(
        0, ge=0, le=MAX_PRIORITY, description=f"0 to {MAX_PRIORITY}; {MAX_PRIORITY} is served first."
    )
    tenant: str = Field(
        DEFAULT_TENANT,
        min_length=1,
        max_length=MAX_TENANT_LENGTH,
        description="Whose job it is: tenants are served in turn, so that none waits for another's backlog.",
    )
    idempotency_key: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_IDEMPOTENCY_KEY_LENGTH,
        description="Any text; a second submission with the same key returns the first job.",
    )

    webhook_url: str | None = Field(
        None,
        min_length=1,
        max_length=receivers.MAX_URL_LENGTH,
        description="Where the job's events are sent, signed by Standard Webhooks.",
    )
    webhook_events: list[Literal["succeeded", "failed", "canceled", "progress"]] = Field(
        ["succeeded", "failed", "canceled"],
        max_length=4,
        description="Which events: `succeeded`, `failed`, `canceled`, `progress` (the end of each stage).",
    )

    @field_validator("person_key", "cloth_key", "idempotency_key", "tenant")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("it contains characters that cannot be printed")
        return value

    @field_validator("webhook_url")
    @classmethod
    def _may_receive(cls, value: str | None) -> str | None:
        if value is not None:
            receivers.check_url(value)
        return value

    @field_validator("person_key", "cloth_key")
    @classmethod
    def _no_dot_segments(cls, value: str) -> str:
        if {".", ".."} & set(value.split("/")):
            raise ValueError("it has a part '.' or '..', which HTTP clients remove")
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
    def _engine_supports_category(cls, value: str, info: ValidationInfo) -> str:
        name = info.data.get("engine", AUTO)
        candidates = [engine for engine in ENGINES if name in (AUTO, engine.name)]
        categories = sorted({category for engine in candidates for category in engine.categories})
        if value not in categories:
            raise ValueError(f"the engine {name} supports {', '.join(categories)}")
        return value

    @classmethod
    def parse(cls, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> "TryonRequest":
        """Return the request of a call with these arguments.

        Raises InputValidationError, which names every argument that is not valid.
        """
        if len(arguments) > 2:
            raise InputValidationError(
                f"tryon takes two positional arguments, person_key and cloth_key, not {len(arguments)}; "
                "pass the options by name."
            )
        positional = dict(zip(("person_key", "cloth_key"), arguments, strict=False))
        repeated = sorted(positional.keys() & options.keys())
        if repeated:
            raise InputValidationError(f"{repeated[0]} was passed twice.", input=repeated[0])
        try:
            return cls(**(positional | dict(options)))
        except ValidationError as error:
            problems = [(".".join(map(str, item["loc"])), item["msg"]) for item in error.errors()]
            raise InputValidationError(
                "The request is not valid: " + "; ".join(f"{name}: {text}" for name, text in problems),
                input=problems[0][0],
            ) from error

    def options(self) -> dict[str, Any]:
        """Return the options as they are stored in the job's row."""
        return self.model_dump(exclude=NOT_OPTIONS)
