"""What a producer may ask for, checked at the door."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from worker.errors import InputValidationError


class TryonRequest(BaseModel):
    """A try-on as it was asked for: two object keys and the options."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    person_key: str = Field(min_length=1, max_length=1024)
    cloth_key: str = Field(min_length=1, max_length=1024)
    engine: Literal["auto", "geometric", "viton_hd"] = "auto"
    category: Literal["upper_body"] = "upper_body"
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
