.DEFAULT_GOAL := help
.PHONY: help setup demo test lint audit format bench down

BIN := .venv/bin

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## Install what is missing: system packages, Python environments, Kafka, Triton
	@./deploy/setup.sh

demo: setup ## Send synthetic studies through the whole stack and show what was decided
	$(BIN)/sinsok demo

test: lint audit ## All tests, against real parts on free ports
	@# Tests on real parts wait more than they compute: four groups run beside each other, but for those that need the
	@# machine alone. What a shell puts into the background ignores an interrupt, and these have processes to end.
	@run() { \
		name=$$1; ports=$$2; shift 2; \
		env --default-signal=INT TEST_PORTS=$$ports $(BIN)/pytest "$$@" > .local/test-$$name.log 2>&1; \
	}; \
	shared="not alone and not record"; \
	trap 'trap - INT TERM; kill -INT 0' INT TERM; \
	{ run unit 0 tests/unit; unit=$$?; run record 13000 tests/integration -m record && exit $$unit; } & first=$$!; \
	run e2e 18000 tests/e2e/test_[!c]*.py -m "$$shared" & second=$$!; \
	run integration 23000 tests/e2e/test_churn.py tests/integration/test_[d-z]*.py -m "$$shared" & third=$$!; \
	TEST_PORTS=28000 $(BIN)/pytest tests/contract tests/integration/test_[a-c]*.py -m "$$shared"; failed=$$?; \
	for group in $$first $$second $$third; do wait $$group || failed=1; done; \
	for name in unit record e2e integration; do cat .local/test-$$name.log; done; exit $$failed
	@$(BIN)/pytest tests/e2e tests/integration -m alone

lint: setup ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: setup ## Ask whether a vulnerability is known in what is locked
	@$(BIN)/python deploy/audit.py

format: setup ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup ## Measure the claims, side by side with named peers
	@set -e; for benchmark in benchmarks/[a-z]*.py; do echo "== $$benchmark"; $(BIN)/python "$$benchmark"; done

down: ## Stop what `sinsok up` or the demo left running
	@test ! -x $(BIN)/sinsok || $(BIN)/sinsok down
