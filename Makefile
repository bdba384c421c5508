# Digit Lab: `make run` to use it, `make test` to try it. Both start from nothing and are safe to repeat.
# Written for GNU make 3.81 and a POSIX shell, which is what macOS has.

VENV   := .venv
PYTHON := $(VENV)/bin/python
PIP    := $(PYTHON) -m pip --disable-pip-version-check

# Written last, so that an installation that was cut short starts again.
APP := $(VENV)/.requirements
DEV := $(VENV)/.requirements-dev

# A file's tests stay together, since they share servers and clusters, and in their order. One process more than cores
# on a small machine, since those that test the engine mostly wait. Pages are tested in
# processes of their own: where a test has loaded Keras, Streamlit clears Keras' session after every script, which takes a second.
IN_PARALLEL := --numprocesses 3 --dist loadfile --no-loadscope-reorder

# Dozens of processes are started, which would all compile the lab and its tests anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run fast check test browser

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Pages are opened under these names alone: a name of another site that leads to this computer (DNS rebinding) is refused.
NAMES := localhost 127.0.0.1 ::1

# exec: whoever ends make ends the server, not a shell that has it as a child.
run: $(APP) ## install what is missing and open the app (PORT=8502 for another port)
	@echo "Starting Digit Lab, for this computer only. Ctrl+C ends it."
	@DIGITLAB_LOCAL=1 exec $(PYTHON) -m streamlit run streamlit_app.py --server.address localhost $(NAMES:%=--server.allowedHosts %) $(if $(PORT),--server.port $(PORT))

fast: $(DEV) ## the tests that need neither Keras nor Dask nor a browser
	@$(PYTHON) -m pytest tests -m fast $(IN_PARALLEL)

check: $(DEV) ## lint, format, types, and whether every requirement is a wheel on each Python
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m basedpyright --pythonpath $(PYTHON)
	@for version in 3.11 3.12 3.13; do \
		echo "Wheels alone on CPython $$version, manylinux_2_31:"; \
		$(PYTHON) -m uv pip compile --quiet --only-binary :all: --python-version $$version \
			--python-platform x86_64-manylinux_2_31 requirements-dev.txt > /dev/null || exit 1; \
		echo "  all of them"; \
	done

# One kind after the other: tests in the browser wait for what a page shows, and a machine that is busy makes them wait too long.
test: $(DEV) browser ## install what is missing and run all tests
	@status=0; \
	echo "Tests of the pages:"; $(PYTHON) -m pytest tests/pages $(IN_PARALLEL) || status=1; \
	echo "Tests of the lab:"; \
	$(PYTHON) -m pytest tests --ignore=tests/pages --ignore=tests/e2e --ignore=tests/test_benchmarks.py $(IN_PARALLEL) || status=1; \
	echo "Tests in the browser, and benchmarks:"; $(PYTHON) -m pytest tests/e2e tests/test_benchmarks.py || status=1; \
	exit $$status

# bin/pip is the last thing that venv makes: where it is missing, the environment is not whole.
$(VENV)/bin/pip:
	@for python in python3 python3.13 python3.12 python3.11 none; do \
		"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null && break; \
	done; \
	if [ "$$python" = none ]; then \
		echo "Digit Lab needs Python 3.11, 3.12 or 3.13 (TensorFlow has no wheels for others)."; \
		echo "Found: $$(python3 --version 2>&1). Install one of the three and run make again:"; \
		echo "  Debian, Ubuntu   sudo apt install python3.13-venv   (or python3.12-venv, python3.11-venv)"; \
		echo "  macOS            brew install python@3.13"; \
		exit 1; \
	fi; \
	echo "Making the environment $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV) > /dev/null || { \
		echo "Python's venv module is not complete. On Debian and Ubuntu: sudo apt install $$python-venv"; \
		exit 1; \
	}

$(APP): requirements.txt | $(VENV)/bin/pip
	@echo "Installing what the app needs (requirements.txt; about 2 GB on disk)"
	@[ -t 1 ] || quiet=--quiet; $(PIP) install $$quiet --only-binary :all: -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt $(APP)
	@echo "Installing what the tests need (requirements-dev.txt)"
	@[ -t 1 ] || quiet=--quiet; $(PIP) install $$quiet --only-binary :all: -r requirements-dev.txt
	@touch $@

# The tests take DIGITLAB_CHROMIUM, else /usr/bin/chromium, else Playwright's own. Ubuntu's chromium package only
# starts a snap, so apt serves Debian alone.
browser: $(DEV)
	@root=; [ "$$(id -u)" = 0 ] || root="sudo -n"; \
	if [ -n "$$DIGITLAB_CHROMIUM" ]; then \
		echo "Browser for the tests: $$DIGITLAB_CHROMIUM"; \
	elif [ -x /usr/bin/chromium ]; then \
		echo "Browser for the tests: /usr/bin/chromium"; \
	elif grep -qs '^ID=debian' /etc/os-release && $$root true 2> /dev/null; then \
		echo "Installing the browser for the tests (apt-get install chromium)"; \
		$$root apt-get -qq update && \
		$$root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium > /dev/null; \
	else \
		echo "Browser for the tests: Playwright's own Chromium, downloaded where it is missing"; \
		deps=; [ "$$(uname)" = Linux ] && $$root true 2> /dev/null && deps=--with-deps; \
		$(PYTHON) -m playwright install $$deps chromium; \
	fi
