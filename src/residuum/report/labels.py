"""Places for the labels of points, so that none covers another: greedy, the first free place around each point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, hypot, pi, sin

MARGIN = 3.0  # between a disc and its label
DIRECTIONS = (0, 4, 2, 6, 1, 7, 3, 5)  # in eighths of a turn: right, left, above, below, then between them
RINGS = 14
RING_STEP = 9.0


@dataclass(frozen=True)
class Rectangle:
    """Left, lower, right and upper border."""

    left: float
    low: float
    right: float
    high: float

    def overlap(self, other: Rectangle) -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.high, other.high) - max(self.low, other.low)
        return max(width, 0.0) * max(height, 0.0)

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.high - self.low)


@dataclass(frozen=True)
class Disc:
    """A point drawn as a disc, with the size of its label."""

    x: float
    y: float
    radius: float
    label_width: float
    label_height: float


def label_places(discs: Sequence[Disc], bounds: Rectangle) -> list[Rectangle]:
    """A rectangle for each label: within the bounds, clear of discs and other labels wherever there is such a place.

    Large discs choose last: they have more places around them.
    """
    covered = [Rectangle(d.x - d.radius, d.y - d.radius, d.x + d.radius, d.y + d.radius) for d in discs]
    found: dict[int, Rectangle] = {}
    for at in sorted(range(len(discs)), key=lambda at: discs[at].radius):
        taken = [*covered, *found.values()]
        found[at] = min(_candidates(discs[at]), key=lambda place: _cost(place, discs[at], taken, bounds))
    return [found[at] for at in range(len(discs))]


def _candidates(disc: Disc) -> Iterator[Rectangle]:
    for ring in range(RINGS):
        for direction in DIRECTIONS:
            angle = direction * pi / 4
            reach = disc.radius + MARGIN + ring * RING_STEP
            x = disc.x + cos(angle) * (reach + disc.label_width / 2)
            y = disc.y + sin(angle) * (reach + disc.label_height / 2)
            yield Rectangle(
                x - disc.label_width / 2, y - disc.label_height / 2, x + disc.label_width / 2, y + disc.label_height / 2
            )


def _cost(place: Rectangle, disc: Disc, taken: Sequence[Rectangle], bounds: Rectangle) -> tuple[float, float]:
    """What is covered or lies outside comes first, the way to the disc second."""
    covered = sum(place.overlap(other) for other in taken)
    outside = place.area - place.overlap(bounds)
    return round(covered + outside, 3), round(distance(place, disc), 1)


def distance(place: Rectangle, disc: Disc) -> float:
    """From the border of a disc to the nearest point of a label."""
    x, y = nearest(place, disc)
    return hypot(x - disc.x, y - disc.y) - disc.radius


def nearest(place: Rectangle, disc: Disc) -> tuple[float, float]:
    """The point of a label that is nearest to its disc."""
    return min(max(disc.x, place.left), place.right), min(max(disc.y, place.low), place.high)
