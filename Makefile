# Every day:        make quick · make test · make run [ARGS=--demo]
# Before a merge:   make faults · make release-check     (.ci/run runs test and these two)
# Now and then:     make soak · make fuzz · make mutants · make bench · make coverage · make docs · make lock · make faults-page
# For a release:    make dist · make sbom · make audit
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

# Each test belongs to one of these three. tests/conftest.py stops the run if one belongs to none or to two.
OF_TEST = not nightly
OF_FAULTS = nightly and not release
OF_RELEASE = release
# Python keeps the compiled tests, because compiling them takes each process four seconds.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist worksteal --randomly-seed=$(SEED) --hypothesis-seed=$(SEED) $(HANGS)
# A test that takes longer than this number of seconds fails, and the others go on.
HANGS = --timeout=600
# Many tests of processes and browsers wait, so three processes keep two cores busy.
WAITING = -n 3

.PHONY: run test coverage quick bench lint web faults faults-page release-check endurance soak docs lock fonts dist sbom audit fuzz mutants clean

run: .venv/ready
	@exec $(BIN)/python -m ratesvc serve $(ARGS)

# Everything that a change can break.
test: .venv/ready-dev .venv/ready-docs lint web
	$(PYTEST) $(WAITING) -m "$(OF_TEST)" $(ARGS)

# The inner loop: style, types, and tests without processes and browsers. It ends after ten failures.
LINT = lint
quick: .venv/ready-dev $(LINT)
	$(PYTEST) -q --maxfail=10 -m "$(OF_TEST) and not slow and not browser" $(ARGS)

# Long stories, floods and whole matrices; and limits of seconds, with nothing else running. A limit that was not kept is
# tried once more, because the machine may have neighbours. `make soak` is row F7.
TIMED = STRICT_TIMES=1 $(PYTEST) -n 0 -m "timed and not release" $(ARGS)
faults: .venv/ready-dev web
	$(PYTEST) $(WAITING) -m "$(OF_FAULTS) and not timed" -k "not F7" $(ARGS)
	$(TIMED) || $(TIMED) --last-failed

# A soak; and fuzzing, if possible.
endurance:
	$(MAKE) soak MINUTES=2 SEED=$(SEED)
	@if $(FUZZ_PYTHON) >/dev/null; then $(MAKE) fuzz SECONDS=30; else echo "NOT RUN: fuzzing needs $(FUZZ_PYTHONS)" >&2; fi

# The packages, and other people's programs with them.
release-check: .venv/ready-dev web
	$(PYTEST) -m "$(OF_RELEASE)" $(ARGS)

# Which lines the tests reach. This makes them slower, so limits of seconds say nothing.
coverage: .venv/ready-dev web
	$(PYTEST) $(WAITING) --cov --cov-report=term -m "$(OF_TEST)" $(ARGS)

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Runs every fault test for its full time and writes docs/faults.md with the measured recoveries.
faults-page: .venv/ready-dev
	LONG_FAULTS=1 STRICT_TIMES=1 $(BIN)/pytest -q tests/faults -k "not faults_page" --faults-table=docs/faults.md $(ARGS)

# The figures of docs/speed.md: ours beside nginx and plain aiohttp. ARGS=--quick takes a minute. Needs wrk.
bench: .venv/ready-dev
	PYTHONPATH=.:tests $(BIN)/python bench/run.py $(ARGS)

# All pages as a site in build/site. A missing page or a dead link stops it.
docs: .venv/ready-dev .venv/ready-docs
	PYTHONPATH=.:tools $(BIN)/python tools/release_docs.py build/pages
	$(BIN)/properdocs build --strict

# Two replicas, a real Redis, a hundred requests a second, and one fault after another, in the order of the seed.
MINUTES = 10
soak: .venv/ready-dev
	SOAK_MINUTES=$(MINUTES) SOAK_SEED=$(SEED) $(BIN)/pytest -q -s --timeout=$$(($(MINUTES) * 60 + 600)) -k F7 \
	  tests/faults/test_F_long_runs.py $(ARGS)

# The npm packages of the browser tests. Without npm those tests say that they did not run.
web:
	@if command -v npm >/dev/null && ! cmp -s tests/browser/package-lock.json tests/browser/node_modules/.installed; then \
	  cd tests/browser && export PUPPETEER_SKIP_DOWNLOAD=1 && { \
	    { npm ci --silent || npm ci --silent; } && cp package-lock.json node_modules/.installed \
	    || echo "npm ci failed: the tests that need its packages will say that they did not run" >&2; }; fi

# The locks hold for every supported Python and platform, and carry no registry's address. UPGRADE=--upgrade takes the newest
# versions instead of the locked ones. No source archive is built, because that runs its code; what has nothing else is named
# here, and pyproject.toml says what it needs.
UPGRADE =
COMPILE = $(BIN)/uv pip compile -q $(UPGRADE) --only-binary :all: --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
  --custom-compile-command "make lock" --python-version 3.11
lock: .venv/ready-dev
	$(COMPILE) pyproject.toml --extra png -o requirements.lock
	$(COMPILE) --group build -o requirements-build.lock
	$(COMPILE) pyproject.toml --group dev -o requirements-dev.lock
	$(COMPILE) --group docs -c requirements-dev.lock -o requirements-docs.lock
	$(COMPILE) --no-binary curlify tests/clients/requirements.in -o tests/clients/requirements.lock
	$(COMPILE) --no-binary pendulum --no-binary memoization tests/clients/tap/requirements.in -o tests/clients/tap/requirements.lock
	$(COMPILE) tests/fuzz/requirements.in -o tests/fuzz/requirements.lock
	$(COMPILE) -c requirements-dev.lock tests/mutants/requirements.in -o tests/mutants/requirements.lock
	cd tests/clients && npm install --silent --package-lock-only --ignore-scripts

# A wheel, a source archive, and the WordPress plugin, made by the locked tools.
DIST = dist
dist: .venv/ready-dev
	rm -f $(DIST)/ratesvc-* $(DIST)/cbr-rates-*
	$(BIN)/uv build -q --no-build-isolation --python $(BIN)/python -o $(DIST)
	PYTHONPATH=. $(BIN)/python tools/release_wordpress.py $(DIST)

# CycloneDX of what ships: the wheel and the lock in their own environment. The tool needs a version in pyproject.toml.
sbom: dist
	$(BIN)/python -m pip download -q --no-deps --require-hashes --only-binary :all: -r requirements.lock -d $(DIST)/wheels
	$(BIN)/uv venv -q --clear --python $(BIN)/python $(DIST)/environment
	$(BIN)/uv pip install -q --python $(DIST)/environment --no-deps $(DIST)/wheels/*.whl $(DIST)/*.whl
	sed "s/^dynamic = .*/version = \"$$($(BIN)/python -c 'import ratesvc; print(ratesvc.__version__)')\"/" pyproject.toml \
	  >$(DIST)/environment/pyproject.toml
	$(BIN)/cyclonedx-py environment --pyproject $(DIST)/environment/pyproject.toml --output-reproducible \
	  -o $(DIST)/sbom.cdx.json $(DIST)/environment/bin/python
	PYTHONPATH=tools $(BIN)/python tools/release_sbom.py $(DIST)
	rm -rf $(DIST)/environment $(DIST)/wheels

# Known vulnerabilities of locked packages, from the package index.
audit: .venv/ready-dev
	for lock in requirements*.lock tests/*/*.lock; do $(BIN)/pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; done

# Builds the fonts of PNG pictures from their sources (a download of 70 MB). The bytes are the same each time.
fonts: .venv/ready-dev
	mkdir -p build/fonts/noto-sans build/fonts/noto-sans-sc
	$(BIN)/python -m pip install -q --target build/fonts/python fonttools==4.68.0
	cd build/fonts && npm pack --silent @expo-google-fonts/noto-sans@0.4.2 @expo-google-fonts/noto-sans-sc@0.4.3
	cd build/fonts && for font in noto-sans noto-sans-sc; do \
	  tar xzf expo-google-fonts-$$font-[0-9]*.tgz -C $$font --strip-components 1; done
	PYTHONPATH=.:tools:build/fonts/python $(BIN)/python tools/release_fonts.py build/fonts

# Coverage-guided fuzzing of the parsers and of queries, in a venv of its own: atheris is published for these Pythons only.
SECONDS = 60
FUZZ_PYTHONS = python3.13 python3.12 python3.11
FUZZ_PYTHON = ( for python in $(FUZZ_PYTHONS); do $$python -c '' 2>/dev/null && echo $$python && exit 0; done; exit 1 )
fuzz: .venv-fuzz/ready
	for target in documents dynamic catalogue query; do .venv-fuzz/bin/python tests/fuzz/fuzz.py $$target \
	  -max_total_time=$$(($(SECONDS) / 4)) -max_len=16384 -print_final_stats=1 || exit 1; done

# mutmut changes the pure modules a little, many times; a test must notice each change. Takes some minutes a module.
# ARGS='ratesvc.domain.rates*' takes one; `mutmut show NAME` in build/mutants shows a change that no test noticed.
MUTMUT = cd build/mutants && PYTHONPATH=tests:tests/faults ../../.venv-mutants/bin/mutmut
mutants: .venv-mutants/ready
	rm -rf build/mutants && mkdir -p build/mutants
	git ls-files -z ratesvc tests pyproject.toml | tar --null --files-from - --create | tar --extract --directory build/mutants
	$(MUTMUT) run $(ARGS)
	$(MUTMUT) results

.venv-mutants/ready: requirements-dev.lock tests/mutants/requirements.lock .venv/bin/python
	@$(BIN)/python -m venv --clear .venv-mutants >/dev/null
	@.venv-mutants/bin/python $(LOCKED) requirements-dev.lock
	@.venv-mutants/bin/python $(LOCKED) tests/mutants/requirements.lock
	@touch $@

.venv-fuzz/ready: requirements.lock tests/fuzz/requirements.lock
	@$$( $(FUZZ_PYTHON) ) -m venv --clear .venv-fuzz >/dev/null || { echo "fuzzing needs $(FUZZ_PYTHONS)" >&2; exit 1; }
	@.venv-fuzz/bin/python $(LOCKED) requirements.lock
	@.venv-fuzz/bin/python $(LOCKED) tests/fuzz/requirements.lock
	@touch $@

clean:
	rm -rf .venv .venv-* dist build

.venv/bin/python:
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys, ssl; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && echo "Making .venv with $$python." >&2 && rm -rf .venv && $$python -m venv .venv >/dev/null 2>&1; then exit 0; fi; \
	done; rm -rf .venv; echo "ratesvc needs Python 3.11 or later with venv: install python3 and python3-venv" >&2; exit 1

# pip itself says nothing for so long that somebody would interrupt it. A lock names all packages. Where it has
# coverage==7.17.5, an old pip would look for coverage[toml].
LOCKED = -m pip install -q --no-deps --require-hashes -r
INSTALL = @echo "Installing the packages of $(1) into .venv. This takes up to a minute." >&2; $(BIN)/python $(LOCKED) $(1)

.venv/ready: .venv/bin/python requirements.lock
	$(call INSTALL,requirements.lock)
	@touch $@

.venv/ready-dev: .venv/ready requirements-dev.lock
	$(call INSTALL,requirements-dev.lock)
	@touch $@

.venv/ready-docs: .venv/ready-dev requirements-docs.lock
	$(call INSTALL,requirements-docs.lock)
	@touch $@
