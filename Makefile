# SPDX-License-Identifier: GPL-2.0-only
# sudo make install     pageinspect for all users: PREFIX is its folder, BINDIR has the command,
#                       SHAREDIR the man page and completion for bash and zsh
# sudo make uninstall   removes all of it
# make demo   shows pageinspect on a real kernel in a guest
# make test   the tests, guests included; make test-all adds cases that others represent,
#             make test-unit runs those that start no process
# make lint   ruff, mypy, the layers of packages, and biome for JavaScript and CSS
# make screens  pictures of the HTML report at two widths, for a person to judge
# make fuzz   damages a core in 2000 ways, and checks what commands report
# make bench  speed, compared with other tools
# make large-cores   cores of large machines, for make bench: 8 GiB of memory, some fifteen minutes
# make gallery   the pictures of docs/gallery.md and of README, from guests; a few minutes
# make soak   starts the tracer many times beside one that runs for long
#
# All of them install missing packages: Debian packages after printing the command, Python packages
# into PREFIX (install) or .venv; development tools only for the targets that need them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PREFIX ?= /opt/pageinspect
override PREFIX := $(patsubst %/,%,$(PREFIX))
BINDIR ?= /usr/local/bin
SHAREDIR ?= $(patsubst %/,%,$(dir $(patsubst %/,%,$(BINDIR))))/share
SHARED := man/man1/pageinspect.1 bash-completion/completions/pageinspect \
          zsh/site-functions/_pageinspect
# Written only by install; uninstall removes only a folder that has it.
MARK = $(PREFIX)/.pageinspect
NOT_OWN = $(or $(if $(PREFIX),,empty),$(word 2,$(PREFIX)),$(filter-out $(abspath $(PREFIX)),$(PREFIX)),\
          $(filter /,$(dir $(PREFIX))),$(filter $(HOME),$(PREFIX)),$(filter $(PREFIX)/%,$(BINDIR)/))
SUDO := $(if $(filter 0,$(shell id -u)),,sudo )
PACKAGES := busybox-static cpio debian-archive-keyring kmod mmdebstrap python3-venv \
            qemu-system-x86 squashfs-tools util-linux xz-utils zstd
install: PACKAGES := python3-bpfcc python3-venv
test test-all: PACKAGES += gcc libc6-dev tmux
test: PACKAGES += $(if $(filter 1,$(PAGEINSPECT_REQUIRE_ALL)),chromium)
screens: PACKAGES += chromium
test-all: PACKAGES += chromium bc bison dwarves flex libelf-dev make
bench: PACKAGES += crash gcc libc6-dev
large-cores: PACKAGES += makedumpfile
LARGE ?= $(wildcard $(VENV)/large-*.core)
PYTEST_ARGS ?=
SIDE_BY_SIDE := -n 2 --dist loadscope --no-loadscope-reorder
FUZZ_COUNT ?= 2000
FUZZ_SEED ?= 1

.PHONY: demo install uninstall own-folder test test-all test-unit lint screens fuzz bench large-cores soak \
        gallery packages clean

install: own-folder packages
	@if [ ! -e $(MARK) ] && [ -n "$$(ls -A $(PREFIX) 2>/dev/null)" ]; then \
		echo "$(PREFIX) is there, and make install did not make it: make install PREFIX=FOLDER"; \
		exit 1; \
	fi
	@mkdir -p $(BINDIR) && test -w $(BINDIR) && mkdir -p $(PREFIX) && test -w $(PREFIX) \
		|| { echo "run: sudo make install"; exit 1; }
	@touch $(MARK)
	$(PYTHON) -m venv $(PREFIX)
	$(PREFIX)/bin/pip install -q '.$(if $(EXTRAS),[$(EXTRAS)])'
	ln -sfn $(PREFIX)/bin/pageinspect $(BINDIR)/pageinspect
	for file in $(SHARED); do \
		mkdir -p $(SHAREDIR)/$${file%/*} && ln -sfn $(PREFIX)/share/$$file $(SHAREDIR)/$$file \
			|| exit; \
	done
	$(BINDIR)/pageinspect --version

uninstall: own-folder
	@if [ ! -e $(MARK) ]; then echo "make install has not put pageinspect in $(PREFIX)"; exit 1; fi
	@if [ "$$(readlink $(BINDIR)/pageinspect)" = $(PREFIX)/bin/pageinspect ]; then \
		echo rm $(BINDIR)/pageinspect; rm $(BINDIR)/pageinspect; \
	fi
	@for file in $(SHARED); do \
		if [ "$$(readlink $(SHAREDIR)/$$file)" = $(PREFIX)/share/$$file ]; then \
			echo rm $(SHAREDIR)/$$file; rm $(SHAREDIR)/$$file; \
		fi; \
	done
	rm -r $(PREFIX)

own-folder:
	@if [ -n "$(NOT_OWN)" ]; then \
		echo "PREFIX is the full path of a folder of pageinspect's own, without BINDIR in it"; \
		exit 1; \
	fi

demo: packages $(VENV)/installed
	$(BIN)/pageinspect vm build newest
	$(BIN)/pageinspect vm dump newest -o $(VENV)/demo.core -- sh /opt/pageinspect/src/vm-images/demo.sh
	@echo; echo '$$ pageinspect summary -c $(VENV)/demo.core     # the same guest, from its dump'
	@$(BIN)/pageinspect summary -c $(VENV)/demo.core
	@echo; echo '$$ pageinspect owners -c $(VENV)/demo.core      # who owns these pages'
	@$(BIN)/pageinspect owners -c $(VENV)/demo.core
	@echo; echo '$(VENV)/demo.core (2 GiB) is yours to ask more; make clean removes it.'

test: packages $(VENV)/installed-dev lint
	$(BIN)/pageinspect vm build --debuginfo
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not whole" $(PYTEST_ARGS)

test-all: packages $(VENV)/installed-dev lint
	$(BIN)/pageinspect vm build --debuginfo
	$(BIN)/python -m pytest --hypothesis-profile whole $(SIDE_BY_SIDE) $(PYTEST_ARGS)

test-unit: $(VENV)/installed-dev
	$(BIN)/python -m pytest tests/unit -n 2 $(PYTEST_ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/biome check

screens: packages $(VENV)/installed-dev $(VENV)/demo.core
	$(BIN)/pageinspect report $(VENV)/demo.core -o $(VENV)/screens.html
	PYTHONPATH=tests/support $(BIN)/python -m browser $(VENV)/screens.html $(VENV)/screens

$(VENV)/demo.core:
	$(MAKE) demo

fuzz: packages $(VENV)/installed
	$(BIN)/pageinspect vm build newest
	$(BIN)/pageinspect vm dump newest --memory 256M -o $(VENV)/fuzz.core
	$(BIN)/python tests/fuzz/fuzz.py $(VENV)/fuzz.core --count $(FUZZ_COUNT) --seed $(FUZZ_SEED)

bench: packages $(VENV)/installed
	$(BIN)/pageinspect vm build newest 6.1 --debuginfo
	$(BIN)/python benchmarks/walking.py $(LARGE:%=--large %) -o $(VENV)/walking.json
	$(BIN)/python benchmarks/maps.py -o $(VENV)/maps.json
	$(BIN)/python benchmarks/maps.py -o $(VENV)/maps.json
	$(BIN)/python benchmarks/tracing.py -o $(VENV)/tracing.json
	$(BIN)/python benchmarks/tracing.py --tracers outstanding -o $(VENV)/outstanding.json
	$(BIN)/python benchmarks/tracing.py --tracers alloc -o $(VENV)/alloc.json
	$(BIN)/python benchmarks/start.py -o $(VENV)/start.json

large-cores: packages $(VENV)/installed
	$(BIN)/pageinspect vm build newest
	for size in 4G 32G 128G; do \
		$(BIN)/python benchmarks/large_core.py $(VENV)/large-$$size.core $$size || exit; \
	done

gallery: packages $(VENV)/installed-dev
	$(BIN)/pageinspect vm build newest
	$(BIN)/python docs/make_gallery.py

soak: packages $(VENV)/installed
	$(BIN)/pageinspect vm build newest
	$(BIN)/python benchmarks/soak.py -o $(VENV)/soak.json

packages:
	@missing=; for package in $(PACKAGES); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' \
			|| missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		line="apt-get install -y --no-install-recommends$$missing"; \
		echo "$(SUDO)apt-get update && $(SUDO)$$line"; \
		$(SUDO)apt-get update && $(SUDO)$$line; \
	fi

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) dist build
