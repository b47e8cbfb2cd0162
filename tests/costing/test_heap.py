"""The model of the allocator: blocks never overlap, gaps are used again, large blocks go back.

`results/cost-memory.json` holds it against real processes.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from residuum.costing.count import cost
from residuum.costing.heap import HEADER, THRESHOLD, Heap
from residuum.nets.catalog import CATALOG

KIB, MIB = 1024, 1024 * 1024


def test_large_blocks_are_mapped_and_go_back() -> None:
    heap = Heap()
    heap.allocate(1, THRESHOLD)
    assert heap.resident == THRESHOLD + HEADER
    heap.release(1)
    assert (heap.resident, heap.peak) == (0, THRESHOLD + HEADER)


def test_smaller_blocks_stay_with_the_process_and_are_used_again() -> None:
    heap = Heap()
    heap.allocate(1, 3 * MIB)
    heap.release(1)
    assert heap.resident == 3 * MIB + HEADER
    heap.allocate(2, 2 * MIB)
    assert heap.resident == 3 * MIB + HEADER, "the gap is used again"


def test_the_smallest_gap_that_fits_is_taken() -> None:
    heap = Heap()
    for key, size in enumerate((64, 8, 32, 8, 48, 8)):
        heap.allocate(key, size * KIB)
    before = heap.resident
    for key in (0, 2, 4):
        heap.release(key)
    heap.allocate(10, 40 * KIB)  # into the gap of 48
    heap.allocate(11, 60 * KIB)  # into the gap of 64
    heap.allocate(12, 32 * KIB)
    assert heap.resident == before


events = st.lists(st.tuples(st.integers(0, 15), st.integers(1, 300 * KIB)), max_size=80)


@given(events)
@settings(max_examples=200, deadline=None)
def test_a_process_never_holds_less_than_its_blocks_and_blocks_never_overlap(
    given_events: list[tuple[int, int]],
) -> None:
    heap, held = Heap(), dict[int, int]()
    for key, size in given_events:
        if key in held:
            heap.release(key)
            del held[key]
        else:
            heap.allocate(key, size)
            held[key] = size
        assert sum(size + HEADER for size in held.values()) <= heap.resident <= heap.peak
        spans = sorted((address, address + size) for address, size in heap._placed.values())
        spans += [(address, address + size) for size, address in heap._free]
        spans.sort()
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
    for key in list(held):
        heap.release(key)
    assert not heap._placed
    assert not heap._mapped


def test_the_threshold_is_the_largest_of_the_manual() -> None:
    assert THRESHOLD == 4 * MIB * 8  # 4 * 1024 * 1024 * sizeof(long), on 64 bits


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "resnet20"])
def test_a_process_holds_more_than_its_tensors_do(name: str) -> None:
    entry = CATALOG[name]
    with torch.device("meta"):
        module = entry.build()
    memory = cost(module, entry.input_shape, batch=4).memory
    assert memory.forward_peak <= memory.forward_process < 2 * memory.forward_peak
    assert memory.training_peak <= memory.training_process < 2 * memory.training_peak


def test_a_convolution_holds_its_result_twice_for_a_moment() -> None:
    net = torch.nn.Conv2d(1, 64, 3, padding=1, bias=False)
    memory = cost(net, (1, 256, 256)).memory
    assert memory.forward_process == pytest.approx(memory.forward_peak + 64 * 256 * 256 * 4, rel=0.001)
