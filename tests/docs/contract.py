"""Read docs/*.yaml, compare their schemas with the code's types, and check real answers against them."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
from msgspec import UNSET, Struct

DOCS = Path(__file__).resolve().parents[2] / "docs"

Schema = dict[str, Any]

PROSE = {"title", "description", "examples"}
"""What a schema says to people alone."""


@functools.cache
def read(name: str) -> Schema:
    """Return one of the documents."""
    found = msgspec.yaml.decode((DOCS / name).read_bytes())
    assert isinstance(found, dict)
    return found


def resolve(document: Schema, node: Any) -> Any:
    """Return what a local reference stands for, or the node itself."""
    while isinstance(node, dict) and "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        node = found
    return node


def references(node: Any) -> Iterator[str]:
    """Yield every reference below a node."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


# ------------------------------------------------------------------ a document's schema and a type's


def plain(schema: Any, *, defaults: bool) -> Any:
    """Return a schema in one form: no prose, alternatives as `anyOf`, a constant as an enum of one."""
    if not isinstance(schema, dict):
        return schema
    out = {
        key: value
        for key, value in schema.items()
        if key not in PROSE and not key.startswith("x-") and (defaults or key != "default")
    }
    if out.get("default", 0) is None:
        del out["default"]
    if "const" in out:
        out["enum"] = [out.pop("const")]
    for key in ("items", "additionalProperties"):
        if key in out:
            out[key] = plain(out[key], defaults=defaults)
    if "properties" in out:
        out["properties"] = {k: plain(v, defaults=defaults) for k, v in out["properties"].items()}
    for key in ("required", "enum"):
        if key in out:
            out[key] = sorted(out[key], key=repr)
    if isinstance(out.get("type"), list):
        default = {"default": out.pop("default")} if "default" in out else {}
        types = out.pop("type")
        enum = out.pop("enum", None)
        first = out | {"type": next(t for t in types if t != "null")}
        if enum is not None:
            first["enum"] = [word for word in enum if word is not None]
        out = {"anyOf": [first, {"type": "null"}], **default}
    if "anyOf" in out:
        out["anyOf"] = sorted((plain(x, defaults=defaults) for x in out["anyOf"]), key=repr)
    return {key: out[key] for key in sorted(out)}


def of_struct(cls: type[Struct], *, server: bool, prefix: str = "#/components/schemas/") -> Schema:
    """Return a type's schema in that form.

    The server writes every field that is not left out on purpose, so there all others are required.
    """
    _, parts = msgspec.json.schema_components((cls,), ref_template=prefix + "{name}")
    schema = dict(parts[cls.__name__])
    if server:
        always = [f.encode_name for f in msgspec.structs.fields(cls) if f.default is not UNSET]
        schema["required"] = [*(["type"] if cls.__struct_config__.tag else []), *always]
    if not schema.get("required"):
        schema.pop("required", None)
    found: Schema = plain(schema, defaults=not server)
    return found


def narrowed(code: Any, doc: Any, at: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield (where, keyword, value) for what a document says beyond the type.

    Raises AssertionError where the two differ in any other way.
    """
    if isinstance(code, dict) and isinstance(doc, dict):
        for key in sorted(code.keys() | doc.keys()):
            if key not in code and key in {"enum", "minLength", "maxLength"}:
                yield at, key, doc[key]
                continue
            if key == "type" and "enum" in code and doc[key] == "string":
                continue  # msgspec leaves out what an enum says already
            assert key in doc, f"{at}: `{key}` of the code is not documented"
            assert key in code, f"{at}: `{key}` is documented and not in the code"
            inner = at if key in {"properties", "anyOf", "items"} else f"{at}.{key}" if at else key
            yield from narrowed(code[key], doc[key], inner)
    elif isinstance(code, list) and isinstance(doc, list) and all(isinstance(x, dict) for x in code + doc):
        assert len(code) == len(doc), f"{at}: {code} in the code, {doc} in the document"
        for one, other in zip(sorted(code, key=_order), sorted(doc, key=_order), strict=True):
            yield from narrowed(one, other, at)
    else:
        assert code == doc, f"{at}: {code!r} in the code, {doc!r} in the document"


def _order(schema: Schema) -> str:
    return str(schema.get("type") or schema.get("$ref"))


# ------------------------------------------------------------------------------ answers and schemas


def strict(node: Any) -> Any:
    """Return schemas that refuse a property they do not list: what is sent must be documented."""
    if isinstance(node, list):
        return [strict(value) for value in node]
    if not isinstance(node, dict):
        return node
    out = {key: strict(value) for key, value in node.items()}
    if isinstance(out.get("properties"), Mapping) and out.get("type") == "object":
        out.setdefault("additionalProperties", False)
    return out


@functools.cache
def _strict_components(name: str) -> Schema:
    return {"schemas": strict(read(name)["components"]["schemas"])}


def faults(name: str, schema: Schema, value: Any) -> list[str]:
    """Return where a value is not what a document's schema says; names places, never values."""
    whole = {**strict(schema), "components": _strict_components(name)}
    validator = jsonschema.Draft202012Validator(
        whole, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    return [
        f"{error.json_path}: {error.validator} {str(error.validator_value)[:60]}"
        + (
            f" ({sorted(set(error.instance) - set(error.schema['properties']))})"
            if error.validator == "additionalProperties"
            else ""
        )
        for error in validator.iter_errors(value)
    ]
