"""Records that are read from JSON and written to it: each field is checked by the rule of its name."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from . import schema
from .errors import ArgumentError

R = TypeVar("R", bound="Record")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """A record whose subclass names its fields, and in `RULES` the check of each.

    A field with a default may be missing in JSON; no other key may.

    Raises:
        ArgumentError: If a field may not hold its value.
    """

    RULES: ClassVar[Mapping[str, schema.Check]] = {}

    def __post_init__(self):
        for name, check in self.RULES.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    def __reduce__(self):
        # Read-only mappings can neither be pickled nor copied.
        return self.from_json, (self.to_json(),)

    @classmethod
    def check(cls: type[R], key: str, value: Any) -> R:
        """Check that a value is such a record, or make it of an object of JSON; `key` is where it stands."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise schema.wrong(key, value, f"an object with the keys {', '.join(cls.RULES)}")
        needed = [
            field.name
            for field in dataclasses.fields(cls)
            if field.default is dataclasses.MISSING and field.name in cls.RULES
        ]
        missing = [name for name in needed if name not in value]
        unknown = [str(name) for name in value if name not in cls.RULES]
        if missing or unknown:
            what = f"lacks {', '.join(missing)}" if missing else f"has unknown keys: {', '.join(unknown)}"
            raise ArgumentError(f"{key} {what}. Expected keys: {', '.join(cls.RULES)}")
        return cls(**{name: cls.RULES[name](f"{key}.{name}", one) for name, one in value.items()})

    @classmethod
    def from_json(cls: type[R], record: Any) -> R:
        """Make the record of the result of `to_json` or of a JSON reader.

        Raises:
            ArgumentError: If a key is missing or unknown, or may not hold its value.
        """
        return cls.check(cls.__name__, record)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain values of JSON, in the order of its fields."""
        return {name: _plain(getattr(self, name)) for name in self.RULES}


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return value
