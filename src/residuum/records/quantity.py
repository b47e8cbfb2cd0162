"""What is measured and how it is shown: values over the seeds with mean and spread, their unit, in both languages."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from residuum.records.text import Language, Text

KOREAN_UNITS = {
    "points": "%p",
    "times": "배",
    "times as fast": "배",
    "powers of ten": "(상용로그)",
    "million": "M",
    "billion": "G",
    "billion multiply-adds a second": "G 곱셈-덧셈/초",
    "pixels": "픽셀",
}
CLOSE_UNITS = ("배",)  # Korean words that follow their number without a space
NO_VALUE, UNKNOWN = Text("none", "없음"), Text("unknown", "알 수 없음")
DIGITS = 4  # significant ones of a measured number
MOST_DECIMALS = 6  # beyond which a number is written with its power of ten
LARGEST_WHOLE = 1e15  # beyond which a whole number is written with its power of ten
PERCENT = "%"


@dataclass(frozen=True)
class Measured:
    """One quantity of one arm over all its seeds, `values` in the order of the seeds; or `exact`, a number without any
    spread, since it was counted, printed or fixed."""

    values: tuple[float, ...]
    exact: bool = False

    @property
    def mean(self) -> float:
        """Not a number where nothing was measured, since every training failed."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1); not a number for a single value or infinite ones, 0 for an exact one."""
        if self.exact:
            return 0.0
        known = len(self.values) > 1 and all(map(math.isfinite, self.values))
        return statistics.stdev(self.values) if known else math.nan

    @property
    def varies(self) -> bool:
        """Whether there is a spread to show."""
        return len(self.values) > 1 and not self.exact

    def percent(self) -> str:
        """`12.34 ± 0.56 %`; without the spread for a single value."""
        return Quantity("", PERCENT).shown(self)


def exactly(value: float) -> Measured:
    """A number that has no spread."""
    return Measured((value,), exact=True)


@dataclass(frozen=True)
class Quantity:
    """What was measured.

    Attributes:
        name: in the arms' `measured`.
        unit: `%` for shares, which are shown times 100; or any other, empty for a plain number.
        korean: its name in Korean; as in English where it is empty.
    """

    name: str
    unit: str = PERCENT
    korean: str = ""

    @property
    def label(self) -> Text:
        """What it is called."""
        return Text(self.name, self.korean or self.name)

    def shown(self, measured: Measured, language: Language = "en") -> str:
        """`12.34 ± 0.56 %`; without the spread where there is none."""
        if not measured.values:
            return NO_VALUE.in_language(language)
        if not measured.varies:
            return self._with_unit(self._number(measured.mean, language), self.unit, language)
        mean, std = (self._number(value, language, like=measured.mean) for value in (measured.mean, measured.std))
        return self._with_unit(f"{mean} ± {std}", self.unit, language)

    def difference(self, value: float, half_width: float, language: Language = "en") -> str:
        """A difference with half its confidence interval where that is known: `+1.23 ± 0.45 points`."""
        if math.isnan(value):
            return UNKNOWN.in_language(language)
        sign = "+" if value >= 0 else "-"
        if math.isnan(half_width) or half_width == 0:
            return self._with_unit(f"{sign}{self._number(abs(value), language)}", self._of_differences, language)
        size, half = (self._number(each, language, like=abs(value)) for each in (abs(value), half_width))
        return self._with_unit(f"{sign}{size} ± {half}", self._of_differences, language)

    def margin(self, value: float, language: Language = "en") -> str:
        """A margin of a comparison, which is as exact as it was written."""
        exact = self.unit != PERCENT and value != int(value)
        number = f"{value:g}" if exact else self._number(value, language)
        return self._with_unit(number, self._of_differences, language)

    @property
    def _of_differences(self) -> str:
        return "points" if self.unit == PERCENT else self.unit

    @staticmethod
    def _with_unit(number: str, unit: str, language: Language) -> str:
        own = KOREAN_UNITS.get(unit, unit) if language == "ko" else unit
        return f"{number}{own}" if own in CLOSE_UNITS and number[-1].isdigit() else f"{number} {own}".rstrip()

    def _number(self, value: float, language: Language, *, like: float | None = None) -> str:
        """Two decimals of a percentage, four significant digits of all others, or the decimals of another number."""
        if not math.isfinite(value):
            return UNKNOWN.in_language(language) if math.isnan(value) else f"{value:g}"
        if self.unit == PERCENT:
            return f"{100 * value:.2f}"
        if like is None and value == int(value) and abs(value) < LARGEST_WHOLE:
            return f"{int(value):,}"
        size = abs(like or value)
        decimals = max(0, DIGITS - 1 - math.floor(math.log10(size))) if size else DIGITS - 1
        plain = decimals <= MOST_DECIMALS and size < LARGEST_WHOLE
        return f"{value:,.{decimals}f}" if plain else f"{value:.{DIGITS}g}"
