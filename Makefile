# make run, make test; `make help` lists the rest. PYTHON names another Python than python3.

PYTHON ?= python3
BIN := .venv/bin
CHECKED := app recipes scripts benchmarks tests examples generate_openapi.py

.DEFAULT_GOAL := help
.PHONY: help run serve test check format openapi settings setup setup-dev setup-gpu clean distclean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "make %-10s %s\n", $$1, $$2}'

run: export MODELS_FILE ?= starter.toml
run: setup ## Set up and serve the small starter models on http://127.0.0.1:8000 (HOST, PORT)
	@$(BIN)/python -m app serve

serve: setup ## Set up and serve the real models of models.toml (MODELS_FILE)
	@$(BIN)/python -m app serve

# One thread a process: the test models are too small to share among threads, and tests start several servers.
test: check ## Set up, check and test everything
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest

check: setup-dev ## Lint, types, import floors, duplicated code
	@$(BIN)/ruff check $(CHECKED)
	@$(BIN)/ruff format --check $(CHECKED)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/pylint --disable=all --enable=duplicate-code --score=n app scripts

format: setup-dev ## Format the code and fix what can be fixed
	@$(BIN)/ruff check --fix $(CHECKED)
	@$(BIN)/ruff format $(CHECKED)

.PHONY: eval
eval: setup ## How well the starter models find, beside untrained ones (`python -m app eval` measures any served model)
	@$(BIN)/python -m recipes.evaluate --json docs/evaluation/starter.json

# Each recipe makes its data itself, from packages that apt-get downloads, and goes on where it was interrupted.
STARTERS := $(addprefix starter-,e5 bge-m3 dinov3 colqwen2.5 colqwen2 colpali)
.PHONY: starter $(STARTERS)
starter: $(STARTERS) ## Train the starter models anew, or one of them (make starter-e5): up to two hours each

starter-e5: setup-dev
	@$(BIN)/python -m recipes.text.e5

starter-bge-m3: setup-dev
	@$(BIN)/python -m recipes.text.bge_m3

starter-dinov3: setup-dev
	@$(BIN)/python -m recipes.images.dinov3

starter-colqwen2.5: setup-dev
	@$(BIN)/python -m recipes.pages.colqwen2_5

starter-colqwen2: setup-dev
	@$(BIN)/python -m recipes.pages.colqwen2

starter-colpali: setup-dev
	@$(BIN)/python -m recipes.pages.colpali

openapi: setup-dev ## Write openapi.json anew
	@$(BIN)/python generate_openapi.py

.PHONY: screenshots
screenshots: setup-dev ## Write docs/screenshots/ anew: the playground in headless Chromium
	@$(BIN)/python -m scripts.screenshots

settings: setup-dev ## Write the table of settings in README.md anew
	@$(BIN)/python -m scripts.settings_table

setup: ## Make .venv with what the server needs
	@$(PYTHON) -m scripts.setup

setup-dev: ## The same with what tests and checks need
	@$(PYTHON) -m scripts.setup --dev

setup-gpu: ## The same with flash-attn and bitsandbytes for NVIDIA GPUs
	@$(PYTHON) -m scripts.setup --gpu

clean: ## Remove caches
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build
	@find app recipes scripts tests -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## Remove caches, environments and the untrained models
	@rm -rf .venv .venv-oracle .venv-peers .venv-infinity benchmarks/.cache models/untrained

setup-bench: ## The same with the libraries and servers that benchmarks compare with
	@$(PYTHON) -m scripts.setup --dev --bench

bench: bench-text bench-dtypes bench-limits bench-wire bench-pooling bench-maxsim bench-visual bench-latency bench-rerank bench-training bench-start ## Every benchmark that needs no GPU

.PHONY: setup-bench bench bench-text bench-limits
bench-text: setup-bench ## Texts over HTTP beside other servers and libraries (ARGS=--quick, ARGS=--full)
	@$(BIN)/python -m benchmarks.text_throughput $(ARGS)

bench-limits: setup-bench ## Share of the matrix peak, cost of HTTP
	@$(BIN)/python -m benchmarks.limits small base large

.PHONY: bench-dtypes
bench-dtypes: setup-bench ## What int8 and bfloat16 cost in quality, on a retrieval set of man pages (apt-get downloads it)
	@.venv-peers/bin/python -m benchmarks.dtype_quality

.PHONY: bench-text-ways
bench-text-ways: setup-dev ## Ways to run a text encoder on this machine's CPU
	@$(BIN)/python -m benchmarks.text_ways small base large

.PHONY: bench-maxsim
bench-maxsim: setup-dev ## Late interaction beside colpali-engine, in the environment of the reference libraries
	@.venv-oracle/bin/python -m benchmarks.maxsim

.PHONY: bench-latency
bench-latency: setup-dev ## Queries and /health while an ingest saturates the server
	@$(BIN)/python -m benchmarks.latency

.PHONY: bench-rerank
bench-rerank: setup-dev ## Reranking while an ingest saturates the model
	@$(BIN)/python -m benchmarks.rerank_latency

.PHONY: bench-training
bench-training: setup-dev ## Queries while a fine-tuning job runs
	@$(BIN)/python -m benchmarks.training_latency

.PHONY: bench-visual
bench-visual: setup-dev ## Pages: preparing beside transformers' processors, the models, and over HTTP
	@.venv-oracle/bin/python -m benchmarks.visual

.PHONY: bench-wire bench-pooling
bench-wire: setup-dev ## Vectors to bytes in every format
	@$(BIN)/python -m benchmarks.wire

bench-pooling: setup-dev ## Pooling of multi-vectors beside scipy
	@$(BIN)/python -m benchmarks.pooling

.PHONY: bench-start
bench-start: setup-dev ## Start of the server, and its memory over 10,000 requests a family
	@$(BIN)/python -m benchmarks.start_memory

.PHONY: bench-gpu
bench-gpu: setup-dev ## Texts and pages on an NVIDIA GPU, and their share of its peak (ARGS="--device cpu --tiny": try it)
	@$(BIN)/python -m benchmarks.gpu $(ARGS)
