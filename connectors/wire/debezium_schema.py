"""What JsonConverter's schema says of the columns: semantic types by column name."""

from collections.abc import Mapping

from connectors.wire.values import Semantic

_DECIMAL = "org.apache.kafka.connect.data.Decimal"


def semantics_of(schema: object, part: str | None = None) -> Mapping[str, Semantic] | None:
    """The semantics of a struct's fields, or of the struct under `part` in it; None without a schema.

    A field whose schema has no name is plain: its Semantic's name is "".
    """
    fields = _fields(schema)
    if fields is None:
        return None
    if part is not None:
        fields = next((_fields(field) for field in fields if field.get("field") == part), None) or []
    return {str(field.get("field")): _semantic(field) for field in fields}


def _fields(schema: object) -> list[Mapping[str, object]] | None:
    fields = schema.get("fields") if isinstance(schema, dict) else None
    return [field for field in fields if isinstance(field, dict)] if isinstance(fields, list) else None


def _semantic(field: Mapping[str, object]) -> Semantic:
    name = field.get("name")
    if not isinstance(name, str):
        return _PLAIN
    if name != _DECIMAL:
        return Semantic(name)
    parameters = field.get("parameters")
    scale = parameters.get("scale") if isinstance(parameters, dict) else None
    return Semantic(name, int(scale) if isinstance(scale, str) and scale.lstrip("-").isdecimal() else None)


_PLAIN = Semantic("")
