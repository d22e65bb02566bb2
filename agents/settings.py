"""Keys of a config as their owners declare them: what every section of settings is built from.

A section is a class whose fields are keys of the flat JSON config. Its owner declares it, validates what its
keys mean to each other, and is handed an instance of it; nothing is mapped.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""What NumPy and torch take."""

FLAGS = ("throughput", "legacy", "free", "only")
"""What a key says about itself besides its JSON schema, see `key`."""


def key(
    default: Any,
    meaning: str,
    *,
    throughput: bool = False,
    legacy: bool = True,
    free: bool = False,
    only: tuple[str, bool] | None = None,
    **bounds: Any,
) -> Any:
    """Declare one key of a section.

    Args:
        default: Value when absent, the legacy pipeline's; ``...`` if every config must give it.
        meaning: One sentence for the reference of keys.
        throughput: Whether another value than the default leaves reproduction mode.
        legacy: Whether the legacy pipeline takes another value, too; never where `throughput` is true.
        free: Whether a run may go on from its checkpoint with another value.
        only: An attribute of learners and its value, ``("continuous", True)``; to others the key means
            nothing, and they do not have it.
        **bounds: As of `pydantic.Field`: ``gt``, ``ge``, ``lt``, ``le``, ``min_length``, ...
    """
    flags = zip(FLAGS, (throughput, legacy and not throughput, free, only), strict=True)
    return Field(default, description=meaning, json_schema_extra=dict(flags), **bounds)


class Section(BaseModel):
    """Base of all sections: strict types (a whole number is a number, a boolean is none), no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def flagged(cls, flag: str, value: bool = True) -> list[str]:
        """Keys whose flag, ``"throughput"``, ``"legacy"`` or ``"free"``, has a value."""
        return [name for name, field in cls.model_fields.items() if field.json_schema_extra[flag] is value]

    def changed(self, names: list[str]) -> list[str]:
        """Those of some keys that do not have their default."""
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]
