# universe2. `make demo` runs the main job, `make test` the tests; both set everything up first.
# The first that really runs: version managers leave names on the path that do not.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c "" 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.setup-done

.PHONY: setup demo test test-slow contract soak lint protos bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "universe2 needs Python >= 3.11; found: $$($(PYTHON) --version). Set PYTHON=/path/to/python."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ echo "could not make .venv; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[atari,web,dev]"
	$(BIN)/universe2 doctor --get-browser --compile
	@touch $(STAMP)

demo: setup
	$(BIN)/python -m universe2.agents.demo

# One worker more than cores: every fourth second of a test is waiting.
test: setup lint
	$(BIN)/python -m pytest --dist loadfile \
		-n $$($(BIN)/python -c "import os; print(min(4, os.cpu_count() + 1))")

test-slow: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[sb3,cuda]"
	$(BIN)/python -m pytest -m slow --timeout=3600

# Every registered id, here and through a server: hours. What passed is noted and not run again.
contract: setup
	UNIVERSE2_CONTRACT_RECORD=$(CURDIR)/benchmarks/scores/contract.tsv \
		$(BIN)/python -m pytest -m slow -n logical --maxprocesses 4 tests/contract/test_every_family.py

# Twenty minutes of clients of every kind, and of kills; writes benchmarks/scores/soak.json.
soak: setup
	UNIVERSE2_SOAK_SECONDS=1200 $(BIN)/python -m pytest -m slow tests/faults/test_soak.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p universe2
	$(BIN)/python protos/generate.py --check

protos: setup
	$(BIN)/python protos/generate.py

bench: setup
	for script in arcade web wire train; do $(BIN)/python benchmarks/$$script.py || exit 1; done
	$(BIN)/python benchmarks/tables.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
