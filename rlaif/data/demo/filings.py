"""Generates fictional annual filings: a company, a fiscal year and two years of consistent figures.

Invariant: all amounts are integers in the smallest unit of the filing, so differences are exact. The two years of a
line always differ.
"""

from dataclasses import dataclass
from fractions import Fraction

from rlaif.data.demo.names import Split, company_stem
from rlaif.data.seeded_random import SeededRandom


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a financial statement.

    Attributes:
        label: name of the line in the statement.
        phrase: name of the line in a question.
        plural: whether the phrase takes "were".
        at_end: whether the amount is a balance at year end rather than a total over the year.
        now, before: amounts of this and the previous fiscal year, in the smallest unit of the filing.
    """

    label: str
    phrase: str
    plural: bool
    at_end: bool
    now: int
    before: int


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
        company: name of the company.
        sector: sector of the company.
        year: fiscal year.
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
    lines: dict[str, Line]

    def amount(self, units: int) -> str:
        """Return an amount without currency and scale: "412.6" for millions, "84,310" for thousands."""
        if self.scale == "million":
            return f"{units // 10:,}.{units % 10}"
        return f"{units:,}"

    def money(self, units: int) -> str:
        """Return an amount with currency and scale: "$412.6 million", "-$3.2 million"."""
        return f"{'-' if units < 0 else ''}${self.amount(abs(units))} {self.scale}"

    @property
    def link(self) -> str:
        """Link to the filing, such as demo://filings/arden-foods-2023."""
        return f"demo://filings/{self.company.lower().replace(' ', '-')}-{self.year}"


SECTORS = (
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

FIRST_YEAR, LAST_YEAR = 2012, 2024
_YEAR_ENDS = ((12, "December 31"), (12, "December 31"), (6, "June 30"), (9, "September 30"), (3, "March 31"))


def write_filing(rng: SeededRandom, split: Split) -> Filing:
    """Generate the filing of a company in the split."""
    sector = rng.one(SECTORS)
    company = f"{company_stem(rng, split)} {rng.one(sector.nouns)}"
    end_month, year_end = rng.one(_YEAR_ENDS)
    scale = "million" if rng.chance(0.85) else "thousand"
    # Doublings instead of a power, because pow of the C library differs between machines.
    least, doublings = (900, 6) if scale == "million" else (20_000, 2)
    before = rng.between(least, 2 * least) * 2 ** rng.below(doublings)
    now = _moved(rng, before, -0.12, 0.25)
    lines = _statement(rng, sector, now, before)
    while any(line.now == line.before for line in lines):
        lines = _statement(rng, sector, now, before)
    year = rng.between(FIRST_YEAR, LAST_YEAR)
    return Filing(company, sector, year, year_end, end_month, scale, {line.label: line for line in lines})


def _moved(rng: SeededRandom, amount: int, low: float, high: float) -> int:
    """Return an amount for the next year: changed by a random share, and never equal."""
    moved = max(1, amount + int(amount * rng.share(low, high)))
    return moved if moved != amount else amount + 1


def _part(rng: SeededRandom, of: tuple[int, int], low: float, high: float) -> tuple[int, int]:
    """Return a random share of (now, before); the share of `now` deviates by up to 10%."""
    share = rng.share(low, high)
    before = max(11, int(of[1] * share))
    now = max(11, int(of[0] * share * rng.share(0.9, 1.1)))
    return (now, before) if now != before else (now + 1, before)


def _less(whole: tuple[int, int], *parts: tuple[int, int]) -> tuple[int, int]:
    return whole[0] - sum(part[0] for part in parts), whole[1] - sum(part[1] for part in parts)


def _statement(rng: SeededRandom, sector: Sector, now: int, before: int) -> list[Line]:
    sales = (now, before)
    cost = _part(rng, sales, 0.45, 0.70)
    gross = _less(sales, cost)
    selling = _part(rng, gross, 0.25, 0.45)
    research = _part(rng, gross, 0.05, 0.20)
    operating = _less(gross, selling, research)
    interest = _part(rng, sales, 0.005, 0.02)
    taxes = _part(rng, _less(operating, interest), 0.18, 0.26)
    income = _less(operating, interest, taxes)
    other = _part(rng, sales, 0.004, 0.02)
    sign = -1 if rng.chance(0.7) else 1
    flow: list[tuple[str, bool, tuple[int, int]]] = [
        (sector.sales, sector.sales == "Net sales", sales),
        ("Cost of sales", False, cost),
        ("Gross profit", False, gross),
        ("Selling expenses", True, selling),
        ("Research and development expense", False, research),
        ("Operating income", False, operating),
        ("Interest expense", False, interest),
        ("Income taxes", True, taxes),
        ("Net income", False, income),
        ("Capital expenditures", True, _part(rng, sales, 0.03, 0.10)),
        ("Other income (expense), net", False, (sign * other[0], sign * other[1])),
        *((label, label.endswith("s"), _part(rng, sales, 0.01, 0.08)) for label in sector.costs),
    ]
    balance: list[tuple[str, bool, tuple[int, int]]] = [
        ("Cash and cash equivalents", True, _part(rng, sales, 0.05, 0.30)),
        ("Accounts receivable", False, _part(rng, sales, 0.08, 0.20)),
        ("Inventories", True, _part(rng, sales, 0.06, 0.20)),
        ("Total assets", True, _part(rng, sales, 0.80, 1.80)),
        ("Long-term debt", False, _part(rng, sales, 0.10, 0.60)),
        ("Accounts payable", False, _part(rng, sales, 0.05, 0.15)),
    ]
    lines = [Line(label, _phrase(label), plural, False, *pair) for label, plural, pair in flow]
    return lines + [Line(label, _phrase(label), plural, True, *pair) for label, plural, pair in balance]


def _phrase(label: str) -> str:
    return label[0].lower() + label[1:]


def tenths_of_percent(part: int, whole: int) -> int:
    """Return 1000 * part / whole, rounded half up; 3.7% gives 37.

    Args:
        part: numerator, at least 0.
        whole: denominator, above 0.
    """
    return int(Fraction(1000 * part, whole) + Fraction(1, 2))
