"""Generates fictional annual filings: a company, a fiscal year and two years of consistent figures.

Invariant: all amounts are integers in the smallest unit of the filing, so differences are exact. The two years of a
line always differ. The first syllable of a company determines its split, so train and held-out share no company.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlaif.data.seeded_random import SeededRandom

Split = Literal["train", "heldout"]
Years = tuple[int, int]
"""`now` and `before` of a line."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a financial statement.

    Attributes:
        label: name of the line in the statement.
        at_end: whether the amount is a balance at year end rather than a total over the year.
        now, before: amounts of this and the previous fiscal year, in the smallest unit of the filing.
    """

    label: str
    at_end: bool
    now: int
    before: int

    @property
    def phrase(self) -> str:
        """Name of the line in a question."""
        return self.label[0].lower() + self.label[1:]

    @property
    def plural(self) -> bool:
        """Whether the phrase takes "were"."""
        return self.label.endswith("s") and self.label != "Cost of sales"


@dataclass(frozen=True, slots=True)
class Sector:
    """Vocabulary of a sector: company names, sales, segments, sites and costs."""

    nouns: tuple[str, ...]
    sales: str
    segments: tuple[str, ...]
    sites: str
    costs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filing:
    """Annual filing of a company.

    Attributes:
        year_end: last month and day of the fiscal year, such as "June 30"; it ends in the calendar year `year`.
        end_month: last month of the fiscal year, 1 to 12.
        scale: scale of the amounts, "million" or "thousand".
        lines: lines of the statements by label, in order.
    """

    company: str
    sector: Sector
    year: int
    year_end: str
    end_month: int
    scale: str
    lines: Mapping[str, Line]

    def amount(self, units: int) -> str:
        """Return an amount without currency and scale: "412.6" for millions, "84,310" for thousands."""
        return f"{units // 10:,}.{units % 10}" if self.scale == "million" else f"{units:,}"

    def money(self, units: int) -> str:
        """Return an amount with currency and scale: "$412.6 million", "-$3.2 million"."""
        return f"{'-' if units < 0 else ''}${self.amount(abs(units))} {self.scale}"

    @property
    def whose(self) -> str:
        """Possessive form of the company: Arden Foods', Arden Energy's."""
        return self.company + ("'" if self.company.endswith("s") else "'s")

    @property
    def link(self) -> str:
        """Link to the filing, such as demo://filings/arden-foods-2023."""
        return f"demo://filings/{self.company.lower().replace(' ', '-')}-{self.year}"


SYLLABLES: Mapping[Split, tuple[str, ...]] = {
    "train": (
        "Ar", "Bel", "Bran", "Cal", "Cor", "Dal", "Del", "Dun", "El", "Fal", "Fen", "Gar", "Gil", "Hal", "Hol", "Kel",
        "Lang", "Lar", "Mar", "Mel", "Nor", "Oak", "Pel", "Quin", "Rad", "Ros", "Sel", "Tal", "Tor", "Ul", "Ver", "Wes",
        "Yar", "Zel",
    ),
    "heldout": (
        "Ash", "Bay", "Crom", "Dray", "Esk", "Glen", "Har", "Kin", "Lin", "Mos", "Pem", "Rush", "Thorn", "Wal",
    ),
}  # fmt: skip
ENDINGS = (
    "den", "ford", "wick", "bury", "mont", "vale", "brook", "worth", "field", "haven", "mere", "stead", "croft",
    "dale", "gate", "holm", "well", "combe", "shaw", "lock",
)  # fmt: skip

_SECTORS = (
    Sector(("Foods", "Bakeries", "Dairies", "Provisions"), "Net sales",
           ("Frozen Meals", "Snacks", "Beverages", "Pet Food"), "plants", ("Freight costs", "Packaging costs")),
    Sector(("Software", "Systems", "Data", "Analytics"), "Revenue",
           ("Cloud Services", "Licenses", "Support", "Consulting"), "offices", ("Hosting costs", "Sales commissions")),
    Sector(("Stores", "Outfitters", "Markets", "Home Goods"), "Net sales",
           ("Online", "Outlet Stores", "Furniture", "Garden"), "stores", ("Rent expense", "Freight costs")),
    Sector(("Energy", "Petroleum", "Pipelines", "Power"), "Revenue",
           ("Upstream", "Refining", "Gas Storage", "Wind"), "terminals", ("Exploration expense", "Fuel costs")),
    Sector(("Health", "Therapeutics", "Medical", "Diagnostics"), "Revenue",
           ("Imaging", "Surgical Devices", "Home Care", "Laboratory Tests"), "clinics", ("Clinical trial costs",)),
    Sector(("Industries", "Machine Works", "Tooling", "Controls"), "Net sales",
           ("Pumps", "Valves", "Automation", "Aftermarket Parts"), "factories", ("Warranty costs", "Freight costs")),
    Sector(("Freight", "Airways", "Logistics", "Rail"), "Revenue",
           ("Truckload", "Warehousing", "Passenger", "Cargo"), "depots", ("Fuel costs", "Maintenance expense")),
    Sector(("Chemicals", "Paper", "Steel", "Glass"), "Net sales",
           ("Coatings", "Packaging", "Specialty Products", "Recycling"), "mills", ("Energy costs", "Freight costs")),
    Sector(("Media", "Publishing", "Studios", "Broadcasting"), "Revenue",
           ("Streaming", "Advertising", "Books", "Live Events"), "studios", ("Content costs", "Royalty expense")),
    Sector(("Hotels", "Restaurants", "Resorts", "Cruises"), "Revenue",
           ("Rooms", "Dining", "Franchising", "Conferences"), "locations", ("Labor costs", "Rent expense")),
    Sector(("Telecom", "Wireless", "Networks", "Fiber"), "Revenue",
           ("Mobile", "Broadband", "Wholesale", "Business Services"), "exchanges", ("Network costs", "Spectrum fees")),
    Sector(("Homes", "Lumber", "Interiors", "Cabinets"), "Net sales",
           ("Single-Family", "Kitchens", "Flooring", "Remodeling"), "yards", ("Land costs", "Freight costs")),
    Sector(("Semiconductors", "Devices", "Instruments", "Optics"), "Net sales",
           ("Sensors", "Memory", "Lasers", "Test Equipment"), "laboratories", ("Wafer costs", "Licensing fees")),
    Sector(("Apparel", "Footwear", "Textiles", "Outdoor"), "Net sales",
           ("Women's", "Men's", "Children's", "Accessories"), "shops", ("Design costs", "Freight costs")),
    Sector(("Farms", "Seeds", "Grain", "Vineyards"), "Revenue",
           ("Corn", "Soybeans", "Fruit", "Crop Protection"), "farms", ("Fertilizer costs", "Harvest labor costs")),
)  # fmt: skip

_YEAR_ENDS = ((12, "December 31"), (12, "December 31"), (6, "June 30"), (9, "September 30"), (3, "March 31"))


def write_filing(rng: SeededRandom, split: Split) -> Filing:
    """Generate the filing of a company in the split."""
    sector = rng.one(*_SECTORS)
    company = f"{rng.one(*SYLLABLES[split])}{rng.one(*ENDINGS)} {rng.one(*sector.nouns)}"
    end_month, year_end = rng.one(*_YEAR_ENDS)
    scale = "million" if rng.chance(0.85) else "thousand"
    # Doublings instead of a power, because pow of the C library differs between machines.
    least, doublings = (900, 6) if scale == "million" else (20_000, 2)
    before = rng.between(least, 2 * least) * 2 ** rng.below(doublings)
    now = max(1, before + int(before * rng.share(-0.12, 0.25)))
    sales = (now if now != before else before + 1, before)
    lines = _statement(rng, sector, sales)
    while any(line.now == line.before for line in lines.values()):
        lines = _statement(rng, sector, sales)
    return Filing(company, sector, rng.between(2012, 2024), year_end, end_month, scale, lines)


def _part(rng: SeededRandom, of: Years, low: float, high: float) -> Years:
    """Return a random share of the amounts; that of this year deviates by up to 10%."""
    share = rng.share(low, high)
    before = max(11, int(of[1] * share))
    now = max(11, int(of[0] * share * rng.share(0.9, 1.1)))
    return (now, before) if now != before else (now + 1, before)


def _less(whole: Years, *parts: Years) -> Years:
    return whole[0] - sum(part[0] for part in parts), whole[1] - sum(part[1] for part in parts)


def _statement(rng: SeededRandom, sector: Sector, sales: Years) -> dict[str, Line]:
    cost = _part(rng, sales, 0.45, 0.70)
    gross = _less(sales, cost)
    selling = _part(rng, gross, 0.25, 0.45)
    research = _part(rng, gross, 0.05, 0.20)
    operating = _less(gross, selling, research)
    interest = _part(rng, sales, 0.005, 0.02)
    taxes = _part(rng, _less(operating, interest), 0.18, 0.26)
    other = _part(rng, sales, 0.004, 0.02)
    sign = -1 if rng.chance(0.7) else 1
    flow = {
        sector.sales: sales,
        "Cost of sales": cost,
        "Gross profit": gross,
        "Selling expenses": selling,
        "Research and development expense": research,
        "Operating income": operating,
        "Interest expense": interest,
        "Income taxes": taxes,
        "Net income": _less(operating, interest, taxes),
        "Capital expenditures": _part(rng, sales, 0.03, 0.10),
        "Other income (expense), net": (sign * other[0], sign * other[1]),
        **{label: _part(rng, sales, 0.01, 0.08) for label in sector.costs},
    }
    balance = {
        "Cash and cash equivalents": _part(rng, sales, 0.05, 0.30),
        "Accounts receivable": _part(rng, sales, 0.08, 0.20),
        "Inventories": _part(rng, sales, 0.06, 0.20),
        "Total assets": _part(rng, sales, 0.80, 1.80),
        "Long-term debt": _part(rng, sales, 0.10, 0.60),
        "Accounts payable": _part(rng, sales, 0.05, 0.15),
    }
    return {label: Line(label, label in balance, *years) for label, years in {**flow, **balance}.items()}


def percent(part: int, whole: int) -> str:
    """Return the share of a part, rounded half up to a tenth of a percent: "3.7%". Neither number is negative."""
    tenths = (2000 * part + whole) // (2 * whole)
    return f"{tenths // 10}.{tenths % 10}%"
