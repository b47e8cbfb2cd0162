# Two commands need nothing but Python (3.11 or newer), pip and make: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test nightly bench lint format clean

demo: $(INSTALLED)
	$(BIN)/residuum reproduce degradation

# Two processes of one thread each: faster than one of two threads, and kind to machines of two cores.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

nightly: $(INSTALLED)
	RESIDUUM_MUTANTS=10000 RESIDUUM_KILLS=200 HYPOTHESIS_PROFILE=default $(BIN)/python -m pytest --timeout 7200

# Peers that are not installed are rows that say so. Nothing else may run on the machine meanwhile.
SHARED ?= ../shared
BENCH ?= runs/bench

bench: $(INSTALLED)
	@test -d $(SHARED)/data || { echo "bench: $(SHARED)/data is missing. Try: make bench SHARED=DIRECTORY"; exit 2; }
	@for name in torchvision timm pytorchcv; do \
	$(BIN)/python -m pip show --quiet $$name 2>/dev/null || echo "bench: $$name is missing. Try: $(BIN)/pip install --no-deps $$name"; done
	mkdir -p $(BENCH)
	$(BIN)/python benchmarks/train_peers.py $(BENCH)/train-cifar.json --shared $(SHARED)
	$(BIN)/python benchmarks/train_peers.py $(BENCH)/train-hymenoptera.json --shared $(SHARED) --task hymenoptera
	$(BIN)/python benchmarks/classify_peers.py $(BENCH)/classify-peers.json --shared $(SHARED)
	$(BIN)/python benchmarks/cost_memory.py $(BENCH)/cost-memory.json
	$(BIN)/python benchmarks/inspect_photos.py $(BENCH)/inspect-photos.json --shared $(SHARED) --time
	$(BIN)/python benchmarks/inspect_pages.py $(BENCH)/inspect-time.json --shared $(SHARED) --only "one photo"
	@for name in torchinfo fvcore calflops transformers; do \
	$(BIN)/python -m pip show --quiet $$name 2>/dev/null || { echo "bench: cost_peers.py left out, $$name is missing"; exit 0; }; done; \
	$(BIN)/python benchmarks/cost_peers.py $(BENCH)/cost-peers.json

lint: $(INSTALLED)
	$(BIN)/ruff format --check src tests results benchmarks
	$(BIN)/ruff check src tests results benchmarks
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format src tests results benchmarks
	$(BIN)/ruff check --fix src tests results benchmarks

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
