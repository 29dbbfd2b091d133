"""Words a pydantic error as a `Fault`, for every format whose content a pydantic model checks."""

from typing import Any

from rlaif.errors import Fault, shown


def pydantic_fault(item: Any) -> Fault:
    """Return one item of `ValidationError.errors()` as a fault without a place.

    Its field is "", or the discriminator that is missing or wrong in the union at the item's location.
    """
    kind, value = item["type"], item["input"]
    if kind == "extra_forbidden":
        return Fault("", "unknown key")
    if kind == "missing":
        return Fault("", "missing", expected="a value")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = str(item["ctx"]["discriminator"]).strip("'")
        if kind == "union_tag_not_found":
            return Fault("", "missing", field=tag, expected="a value")
        expected = item["ctx"]["expected_tags"]
        one_of = "one of " if "," in expected else ""
        return Fault("", field=tag, expected=f"{one_of}{expected}", found=shown(item["ctx"]["tag"]))
    found = "" if isinstance(value, dict) else shown(value)
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return Fault("", expected="text; put it in quotes", found=found)
    if kind in ("value_error", "assertion_error"):
        return Fault("", str(item["ctx"]["error"]), found=found)
    message = str(item["msg"])
    if message.startswith("Input should be "):
        return Fault("", expected=message.removeprefix("Input should be "), found=found)
    return Fault("", message[:1].lower() + message[1:], found=found)
