"""Numbers as they are written: sizes, shares, times, and three figures and a letter where room is scarce."""

from __future__ import annotations

from collections.abc import Sequence

from residuum.records.text import Language

STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def by(sizes: Sequence[float]) -> str:
    """Sizes as they are written: 64x56x56."""
    return "x".join(map(_size, sizes))


def alike(sizes: Sequence[float] | None) -> str:
    """One number where all axes agree, empty where there is none."""
    if not sizes:
        return ""
    return _size(sizes[0]) if len(set(sizes)) == 1 else by(sizes)


def _size(size: float) -> str:
    return str(int(size)) if float(size).is_integer() else f"{size:g}"


def short(value: float) -> str:
    """Three figures and a decimal prefix, such as `25.6 M`; below a thousand the number itself."""
    for size, letter in STEPS:
        if value >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {letter}"
    return f"{value:.3g}"


def percent(part: float, whole: float) -> str:
    """A part in percent; what is there is never shown as nothing, and most of it never as all."""
    if not part or not whole:
        return "0 %"
    share = 100 * part / whole
    if share < 0.05:
        return "<0.1 %"
    return "100 %" if part == whole else ">99.9 %" if share >= 99.95 else f"{share:.1f} %"


def share(value: float | None, digits: int = 1) -> str:
    """A share from 0 to 1 in percent; `none` where there is none."""
    return "none" if value is None else f"{100 * value:.{digits}f} %"


def duration(seconds: float, language: Language = "en") -> str:
    """`3.2 s`, `45 s`, `4.5 min`, `1.5 h`; in Korean `3.2초`, `45초`, `4.5분`, `1.5시간`."""
    s, minutes, hours = (" s", " min", " h") if language == "en" else ("초", "분", "시간")
    if seconds < 90:
        return f"{seconds:.1f}{s}" if seconds < 10 else f"{seconds:.0f}{s}"
    return f"{seconds / 60:.1f}{minutes}" if seconds < 5400 else f"{seconds / 3600:.1f}{hours}"
