# Works with GNU make 3.81, and takes the first of these Pythons that is 3.11 or later and can make a venv.

PYTHONS ?= python3.13 python3.12 python3.11 python3.14 python3
BIN = .venv/bin
ARGS =
# It sets the order of tests, what Hypothesis tries, and the faults of a soak. Every run prints it.
ifndef SEED
SEED := $(shell date +%s)
endif
export SEED
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# uv trusts the authorities of the system, as pip does.
export UV_SYSTEM_CERTS = 1

# Of `make nightly`.
PARTS = faults seconds packages programs soak fuzzing simulation

.PHONY: help run quick test nightly lint front bench docs dist lock audit clean $(addprefix nightly-,$(PARTS) mutants faults-page)

help: ## these lines
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 16

run: .venv/ready ## the service; ARGS=--demo needs neither the Bank nor Redis
	@exec $(BIN)/python -m ratesvc serve $(ARGS)

# Python keeps the compiled tests, because compiling them takes each process four seconds. A test that takes longer than
# this number of seconds fails, and the others go on.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --randomly-seed=$(SEED) --hypothesis-seed=$(SEED) --timeout=600
AT_ONCE = -n 2 --dist worksteal
# Many tests of processes and browsers wait, so three processes keep two cores busy, and at night four.
WAITING = -n 3 --dist worksteal
AT_NIGHT = -n 4 --dist worksteal

LINT = lint
quick: .venv/ready-quick $(LINT) ## style, types, and the tests that start neither a process nor a browser; ends at the tenth failure
	$(PYTEST) $(AT_ONCE) -q --maxfail=10 --command quick $(ARGS)

test: .venv/ready-test node_modules-test ## one test of everything that a change can break
	$(PYTEST) $(WAITING) --command test $(ARGS)

nightly: .venv/ready-dev .venv/ready-docs node_modules ## all other tests; ARGS= picks some of faults seconds packages programs soak fuzzing simulation
	@failed=; for part in $(or $(ARGS),$(PARTS)); do \
	  echo "== $$part" && $(MAKE) -s nightly-$$part ARGS= || failed="$$failed $$part"; done; \
	  [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

OF_PACKAGES = tests/packaging
OF_PROGRAMS = tests/clients tests/browser/test_frameworks.py
# A red test of a part is tried once more, alone, because the machine may have neighbours. What is red then is red.
AGAIN = -n 0 --last-failed
# Long stories, floods and whole matrices.
FAULTS = $(PYTEST) --command nightly -m "not timed" -k "not F7" $(patsubst %,--deselect %,$(OF_PACKAGES) $(OF_PROGRAMS))
nightly-faults:
	$(FAULTS) $(AT_NIGHT) || $(FAULTS) $(AGAIN)
# Limits of seconds and of processor time, with nothing else running.
TIMED = STRICT_TIMES=1 $(PYTEST) -n 0 -m timed
nightly-seconds:
	$(TIMED) || $(TIMED) --last-failed
PACKAGES = $(PYTEST) --command nightly -m "not timed" $(OF_PACKAGES)
nightly-packages:
	$(PACKAGES) $(WAITING) || $(PACKAGES) $(AGAIN)
PROGRAMS = $(PYTEST) --command nightly -m "not timed" $(OF_PROGRAMS)
nightly-programs:
	$(PROGRAMS) $(WAITING) || $(PROGRAMS) $(AGAIN)
# A real replica beside another one, a hundred requests a second, and one fault after another, in the order of the seed.
MINUTES = 2
nightly-soak:
	SOAK_MINUTES=$(MINUTES) SOAK_SEED=$(SEED) $(PYTEST) -n 0 -q -s --timeout=$$(($(MINUTES) * 60 + 600)) -k F7 \
	  tests/faults/test_F_long_runs.py
# A fleet in virtual time, in runs of a month, each with the next seed. SHORTEN= does not look for the shortest story of a red one.
YEARS = 1
FIRST = $(SEED)
SHORTEN = --shorten
nightly-simulation:
	PYTHONPATH=.:tests $(BIN)/python -m simulation $(FIRST) --years $(YEARS) $(SHORTEN)
# Coverage-guided fuzzing of the parsers and of queries, in a venv of its own: atheris is published for these Pythons only.
SECONDS = 30
FUZZ_PYTHONS = python3.13 python3.12 python3.11
FUZZ_PYTHON = ( for python in $(FUZZ_PYTHONS); do $$python -c '' 2>/dev/null && echo $$python && exit 0; done; exit 1 )
nightly-fuzzing:
	@if $(FUZZ_PYTHON) >/dev/null; then $(MAKE) -s .venv-fuzz/ready; \
	  for target in documents dynamic catalogue query; do .venv-fuzz/bin/python tests/fuzz/fuzz.py $$target \
	    -max_total_time=$$(($(SECONDS) / 4)) -max_len=16384 -print_final_stats=1 || exit 1; done; \
	else echo "NOT RUN: fuzzing needs $(FUZZ_PYTHONS)" >&2; fi

# These two are no part of a night. mutmut changes the pure modules a little, many times; a test must notice each change. It
# takes some minutes a module: MODULES='ratesvc.domain.rates*' takes one; `mutmut show NAME` in build/mutants shows a change.
MUTMUT = cd build/mutants && PYTHONPATH=tests:tests/faults ../../.venv-mutants/bin/mutmut
nightly-mutants: .venv-mutants/ready
	rm -rf build/mutants && mkdir -p build/mutants
	git ls-files -z ratesvc tests pyproject.toml | tar --null --files-from - --create | tar --extract --directory build/mutants
	$(MUTMUT) run $(MODULES)
	$(MUTMUT) results
# Runs every fault test for its full time and writes tests/faults/README.md with the measured recoveries.
nightly-faults-page:
	LONG_FAULTS=1 STRICT_TIMES=1 $(BIN)/pytest -q tests/faults -k "not faults_page" --faults-table=tests/faults/README.md

# The npm packages of the browser tests and of what checks and builds scripts: all of a folder, or without what only the night
# needs. Without npm, what needs them says that it did not run.
IS_IN = cmp -s $(1)/package-lock.json $(1)/node_modules/$(2)
NPM_CI = if command -v npm >/dev/null && ! $(call IS_IN,$(1),.all) && ! $(call IS_IN,$(1),$(2)); then \
	  cd $(1) && export PUPPETEER_SKIP_DOWNLOAD=1 && { \
	    { npm ci --silent $(3) || npm ci --silent $(3); } && cp package-lock.json node_modules/$(2) \
	    || echo "npm ci failed in $(1): what needs its packages will say that it did not run" >&2; }; fi
.PHONY: node_modules node_modules-test tools/node_modules
node_modules: tools/node_modules
	@$(call NPM_CI,tests/browser,.all)
node_modules-test: tools/node_modules
	@$(call NPM_CI,tests/browser,.test,--omit=dev)
tools/node_modules:
	@$(call NPM_CI,tools,.all)

lint: .venv/ready-quick lint-front ## style, types, and which folder imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

FRONT = tools/node_modules/.bin
OURS = "ratesvc/features/*/assets/*.{js,css,ts}" "tests/{browser,clients,faults}/*.{js,mjs,mts}" "tools/*.mjs" docs/site.css
SCRIPTS = "ratesvc/features/*/assets/*.js" "tests/{browser,clients,faults}/*.{js,mjs}" "tools/*.mjs" deploy/wordpress/*/block.js
.PHONY: lint-front
lint-front: .venv/ready-quick tools/node_modules
	$(BIN)/python tools/indent_templates.py --check
	@if [ -x $(FRONT)/prettier ]; then set -x && \
	  $(FRONT)/prettier --log-level warn --check $(OURS) && \
	  $(FRONT)/eslint --config tools/eslint.config.mjs $(SCRIPTS) && node tools/build_assets.mjs --check; \
	else echo "NOT RUN: prettier, eslint, and whether the served scripts and styles are built from their sources need npm" >&2; fi

front: .venv/ready-dev tools/node_modules ## formats and builds our scripts, styles and templates; needs npm
	$(BIN)/python tools/indent_templates.py
	$(FRONT)/prettier --log-level warn --write $(OURS)
	node tools/build_assets.mjs
	PYTHONPATH=. $(BIN)/python tools/release_loader.py
	PYTHONPATH=. $(BIN)/python tools/release_wordpress.py --take build

bench: .venv/ready-dev ## ours beside nginx and plain aiohttp; ARGS=--quick takes a minute; needs wrk
	PYTHONPATH=.:tests $(BIN)/python bench/run.py $(ARGS)

# A missing page or a dead link stops it.
docs: .venv/ready-dev .venv/ready-docs ## all pages as a site in build/site
	PYTHONPATH=.:tools $(BIN)/python tools/release_docs.py build/pages
	$(BIN)/properdocs build --strict --config-file docs/properdocs.yml

# The locks hold for every supported Python and platform, and carry no registry's address. UPGRADE=--upgrade takes the newest
# versions instead of the locked ones. No source archive is built, because that runs its code; what has nothing else is named
# here, and pyproject.toml says what it needs.
UPGRADE =
COMPILE = $(BIN)/uv pip compile -q $(UPGRADE) --only-binary :all: --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
  --custom-compile-command "make lock" --python-version 3.11
lock: .venv/ready-dev ## the locks; UPGRADE=--upgrade takes the newest versions
	$(COMPILE) pyproject.toml --group dev -o requirements/dev.lock
	$(COMPILE) pyproject.toml --extra png -c requirements/dev.lock -o requirements/production.lock
	for group in quick test; do \
	  $(COMPILE) pyproject.toml --group $$group -c requirements/dev.lock -o requirements/$$group.lock || exit 1; done
	for group in build docs; do $(COMPILE) --group $$group -c requirements/dev.lock -o requirements/$$group.lock || exit 1; done
	$(COMPILE) --no-binary curlify tests/clients/requirements.in -o tests/clients/requirements.lock
	$(COMPILE) tests/fuzz/requirements.in -o tests/fuzz/requirements.lock
	$(COMPILE) -c requirements/dev.lock tests/mutants/requirements.in -o tests/mutants/requirements.lock
	cd tests/clients && npm install --silent --package-lock-only --ignore-scripts

# A wheel, a source archive, and the WordPress plugin, made by the locked tools.
DIST = dist
dist: .venv/ready-dev ## the wheel, the source archive, and the WordPress plugin; dist/sbom.cdx.json says what ships
	rm -f $(DIST)/ratesvc-* $(DIST)/cbr-rates-*
	$(BIN)/uv build -q --no-build-isolation --python $(BIN)/python -o $(DIST)
	PYTHONPATH=. $(BIN)/python tools/release_wordpress.py --take $(DIST)

# CycloneDX of what ships: the wheel and the lock in their own environment. The tool needs a version in pyproject.toml.
$(DIST)/sbom.cdx.json: dist
	$(BIN)/python -m pip download -q --no-deps --require-hashes --only-binary :all: -r requirements/production.lock -d $(DIST)/wheels
	$(BIN)/uv venv -q --clear --python $(BIN)/python $(DIST)/environment
	$(BIN)/uv pip install -q --python $(DIST)/environment --no-deps $(DIST)/wheels/*.whl $(DIST)/*.whl
	sed "s/^dynamic = .*/version = \"$$($(BIN)/python -c 'import ratesvc; print(ratesvc.__version__)')\"/" pyproject.toml \
	  >$(DIST)/environment/pyproject.toml
	$(BIN)/cyclonedx-py environment --pyproject $(DIST)/environment/pyproject.toml --output-reproducible \
	  -o $@ $(DIST)/environment/bin/python
	PYTHONPATH=tools $(BIN)/python tools/release_sbom.py $(DIST)
	rm -rf $(DIST)/environment $(DIST)/wheels

audit: .venv/ready-dev ## known vulnerabilities of locked packages, from the package index
	for lock in requirements/*.lock tests/*/*.lock; do $(BIN)/pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; done

# Builds the fonts of PNG pictures from their sources (a download of 70 MB). The bytes are the same each time.
build/fonts: .venv/ready-dev
	mkdir -p build/fonts/noto-sans build/fonts/noto-sans-sc
	$(BIN)/python -m pip install -q --target build/fonts/python fonttools==4.68.0
	cd build/fonts && npm pack --silent @expo-google-fonts/noto-sans@0.4.2 @expo-google-fonts/noto-sans-sc@0.4.3
	cd build/fonts && for font in noto-sans noto-sans-sc; do \
	  tar xzf expo-google-fonts-$$font-[0-9]*.tgz -C $$font --strip-components 1; done
	PYTHONPATH=.:tools:build/fonts/python $(BIN)/python tools/release_fonts.py build/fonts

.venv-mutants/ready: requirements/dev.lock tests/mutants/requirements.lock .venv/bin/python
	@$(BIN)/python -m venv --clear .venv-mutants >/dev/null
	@.venv-mutants/bin/python $(LOCKED) requirements/dev.lock
	@.venv-mutants/bin/python $(LOCKED) tests/mutants/requirements.lock
	@touch $@

.venv-fuzz/ready: requirements/production.lock tests/fuzz/requirements.lock
	@$$( $(FUZZ_PYTHON) ) -m venv --clear .venv-fuzz >/dev/null || { echo "fuzzing needs $(FUZZ_PYTHONS)" >&2; exit 1; }
	@.venv-fuzz/bin/python $(LOCKED) requirements/production.lock
	@.venv-fuzz/bin/python $(LOCKED) tests/fuzz/requirements.lock
	@touch $@

clean: ## removes what make made
	rm -rf .venv .venv-* dist build

.venv/bin/python:
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys, ssl; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && echo "Making .venv with $$python." >&2 && rm -rf .venv && $$python -m venv .venv >/dev/null 2>&1; then exit 0; fi; \
	done; rm -rf .venv; echo "ratesvc needs Python 3.11 or later with venv: install python3 and python3-venv" >&2; exit 1

# pip itself says nothing for so long that somebody would interrupt it. A lock names all packages. Where it has
# coverage==7.17.5, an old pip would look for coverage[toml]. Python compiles what is used; pip would compile everything, which
# is 70 MB more.
LOCKED = -m pip install -q --no-compile --no-deps --require-hashes -r
INSTALL = @echo "Installing the packages of requirements/$(1).lock into .venv. This takes up to a minute." >&2; \
  $(BIN)/python $(LOCKED) requirements/$(1).lock

.venv/ready: .venv/bin/python requirements/production.lock
	$(call INSTALL,production)
	@touch $@

.venv/ready-quick: .venv/bin/python requirements/quick.lock
	$(call INSTALL,quick)
	@touch $@

.venv/ready-test: .venv/bin/python requirements/test.lock
	$(call INSTALL,test)
	@touch $@

# It has all of the others.
.venv/ready-dev: .venv/bin/python requirements/dev.lock requirements/production.lock requirements/quick.lock requirements/test.lock
	$(call INSTALL,dev)
	@touch .venv/ready .venv/ready-quick .venv/ready-test $@

.venv/ready-docs: .venv/ready-dev requirements/docs.lock
	$(call INSTALL,docs)
	@touch $@
