"""Made-up names of companies, people, towns and auditors for the fictional filings.

Invariant: the first syllable of a company determines its split, so train and held-out share no company.
"""

from typing import Literal

from rlaif.data.seeded_random import SeededRandom

Split = Literal["train", "heldout"]

_TRAIN_SYLLABLES = (
    "Ar", "Bel", "Bran", "Cal", "Cor", "Dal", "Del", "Dun", "El", "Fal", "Fen", "Gar", "Gil", "Hal", "Hol", "Kel",
    "Lang", "Lar", "Mar", "Mel", "Nor", "Oak", "Pel", "Quin", "Rad", "Ros", "Sel", "Tal", "Tor", "Ul", "Ver", "Wes",
    "Yar", "Zel",
)  # fmt: skip
_HELDOUT_SYLLABLES = (
    "Ash", "Bay", "Crom", "Dray", "Esk", "Glen", "Har", "Kin", "Lin", "Mos", "Pem", "Rush", "Thorn", "Wal",
)  # fmt: skip
_ENDINGS = (
    "den", "ford", "wick", "bury", "mont", "vale", "brook", "worth", "field", "haven", "mere", "stead", "croft",
    "dale", "gate", "holm", "well", "combe", "shaw", "lock",
)  # fmt: skip
_FIRST_NAMES = (
    "Maria", "James", "Aisha", "Peter", "Elena", "David", "Grace", "Omar", "Ingrid", "Samuel", "Priya", "Thomas",
    "Lucia", "Victor", "Hannah", "Daniel", "Mei", "Robert", "Nadia", "Henrik", "Carla", "Joseph", "Amara", "Walter",
)  # fmt: skip
_LAST_NAMES = (
    "Ellison", "Okafor", "Lindqvist", "Marsh", "Delgado", "Whitaker", "Rao", "Novak", "Castellan", "Brandt", "Osei",
    "Harmon", "Petrov", "Sinclair", "Yamada", "Farrow", "Kessler", "Moreau", "Tran", "Aldridge", "Vance", "Iqbal",
    "Rowe", "Santoro",
)  # fmt: skip
_TOWNS = (
    "Dunmore", "Alder Falls", "Port Hadley", "Kingsbridge", "Mill Creek", "Sandoval", "Westmoor", "Cedar Bluff",
    "Oakhurst", "Fairbank", "Stonebridge", "Laketon", "Redfern", "Clearwater Bend", "Haverton", "Pine Hollow",
)  # fmt: skip
_STATES = (
    "Ohio", "Texas", "Oregon", "Georgia", "Michigan", "Virginia", "Colorado", "Minnesota", "Arizona", "Illinois",
    "Pennsylvania", "Tennessee", "Florida", "Wisconsin",
)  # fmt: skip


def stems(split: Split) -> list[str]:
    """Return the first word of every possible company name in a split."""
    syllables = _TRAIN_SYLLABLES if split == "train" else _HELDOUT_SYLLABLES
    return [syllable + ending for syllable in syllables for ending in _ENDINGS]


def company_stem(rng: SeededRandom, split: Split) -> str:
    """Return a random first word of a company name."""
    return rng.one(_TRAIN_SYLLABLES if split == "train" else _HELDOUT_SYLLABLES) + rng.one(_ENDINGS)


def person(rng: SeededRandom) -> str:
    """Return a random first and last name."""
    return f"{rng.one(_FIRST_NAMES)} {rng.one(_LAST_NAMES)}"


def auditor(rng: SeededRandom) -> str:
    """Return a random name of an accounting firm."""
    first, second = rng.some(_LAST_NAMES, 2)
    return f"{first} & {second} LLP"


def place(rng: SeededRandom) -> str:
    """Return a random town with a state."""
    return f"{rng.one(_TOWNS)}, {rng.one(_STATES)}"


def possessive(name: str) -> str:
    """Return the possessive form of a name: Arden Foods', Arden Energy's."""
    return name + ("'" if name.endswith("s") else "'s")
