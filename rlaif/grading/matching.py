"""Whether one claimed quantity is the quantity of a gold answer.

Two quantities match if they have compatible units and signs and the same value, within a relative tolerance or the
rounding of the gold answer. A percentage matches only a percentage; a year only itself.
"""

from rlaif.grading.claims import Claim, Kind
from rlaif.grading.quantities import Quantity
from rlaif.grading.units import same_unit

# A percentage in two digits or more also matches what rounds to it: 36% is what 36.46% is rounded to.
_ROUNDED_PERCENTAGE = 10


def matches(claim: Claim, wanted: Claim, tolerance: float) -> bool:
    """Return whether a claim's quantity is that of a gold answer's claim, within a relative tolerance."""
    given, gold = claim.quantity, wanted.quantity
    if gold.year:
        return given.number == gold.number and not given.unit
    if given.year and (gold.unit or gold.scale != 1.0):
        return False
    if not _same_kind(given, gold) or not _same_sign(claim, wanted):
        return False
    # A gold answer with decimals also matches a figure that rounds to it.
    whole_percentage = gold.unit == "%" and abs(gold.number) >= _ROUNDED_PERCENTAGE
    rounding = 0.5 * 10.0**-gold.decimals if gold.decimals or whole_percentage else 0.0
    if close(given.value, gold.value, tolerance, rounding * gold.scale):
        return True
    # A gold answer without a scale often comes from a table whose header has it.
    without_scale = gold.scale == 1.0 and (given.scale >= 1.0 or given.unit == "%")
    as_written = without_scale or (wanted.as_written and given.scale == 1.0)
    return as_written and close(given.number, gold.number, tolerance, rounding)


def close(given: float, gold: float, relative: float, absolute: float = 0.0) -> bool:
    """Return whether two sizes differ by at most a share of the gold one, or an absolute difference."""
    # 36.5% is rounded to 36% or to 37%; as floats their distance is a little more than a half.
    return abs(abs(given) - abs(gold)) <= max(relative * abs(gold), absolute) * (1.0 + 1e-9)


def kinds_of(wanted: Quantity) -> list[Kind]:
    """Return the kinds of quantities that can match, starting with the kind of the gold answer."""
    if wanted.year:
        return [lambda given: given.year, lambda given: given.is_bare]
    if wanted.unit == "%":
        return [_is_percentage, _is_share]
    if wanted.unit and not wanted.is_money:
        return [lambda given: given.unit == wanted.unit, lambda given: given.is_bare, _is_amount]
    if wanted.is_money or wanted.scale != 1.0:
        return [_is_amount, lambda given: given.is_bare, _is_counted]
    return [
        lambda given: given.is_bare,
        _is_amount,
        _is_percentage,
        _is_counted,
        lambda given: given.year,
    ]


def has_explicit_kind(quantity: Quantity) -> bool:
    """Return whether a quantity says what it is: a year, or something with a unit or a scale."""
    return quantity.year or bool(quantity.unit) or quantity.scale != 1.0


def _same_kind(given: Quantity, gold: Quantity) -> bool:
    if gold.unit == "%":
        return given.unit == "%" or _is_share(given)
    if gold.unit == "times":
        return given.unit in ("", "times")
    return not gold.unit or not given.unit or same_unit(given.unit, gold.unit)


def _same_sign(claim: Claim, wanted: Claim) -> bool:
    """Whether the signs agree. "A decrease of 5" means -5, and also 5 as the size of the decrease."""
    given = -1 if claim.quantity.number < 0 else claim.direction
    if wanted.quantity.number < 0:
        return given == -1
    if wanted.direction == 0:
        # A loss is a negative profit; unlike a decrease, it is nobody's word for the size of something positive.
        is_loss = claim.role == "plain" and claim.direction == -1
        return claim.quantity.number >= 0 and not is_loss
    return given != -wanted.direction


def _is_amount(given: Quantity) -> bool:
    return given.is_money or (not given.unit and given.scale != 1.0)


def _is_share(given: Quantity) -> bool:
    """0.184 may say 18.4%; 12 does not say 12%."""
    return given.is_bare and given.decimals > 1 and abs(given.number) < 1


def _is_percentage(given: Quantity) -> bool:
    return given.unit == "%"


def _is_counted(given: Quantity) -> bool:
    return given.unit.islower()
