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
	@# Tests on real parts wait more than they compute: three groups run beside each other, but for those that need the
	@# machine alone. What a shell puts into the background ignores an interrupt, and these have processes to end.
	@env --default-signal=INT $(BIN)/pytest tests/unit > .local/test-unit.log 2>&1 & unit=$$!; \
	env --default-signal=INT TEST_PORTS=26000 $(BIN)/pytest tests/e2e tests/integration -m "not alone and (e2e or record)" \
		> .local/test-e2e.log 2>&1 & e2e=$$!; \
	trap 'kill -INT $$unit $$e2e' INT TERM; \
	TEST_PORTS=20000 $(BIN)/pytest tests/contract tests/integration -m "not alone and not record"; other=$$?; \
	wait $$unit; unit=$$?; wait $$e2e; e2e=$$?; cat .local/test-unit.log .local/test-e2e.log; exit $$((other || unit || e2e))
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
