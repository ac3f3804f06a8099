# README's two commands are `make demo` and `make test`; CONTRIBUTING explains the others.
.PHONY: setup demo test check lint types bench soak registry clean
.DEFAULT_GOAL := test

python := .venv/bin/python
# Where `make registry` unpacks Debian's docker-registry, skopeo and nginx when they are not installed.
export PATH := $(CURDIR)/build/tools/usr/bin:$(PATH)

setup:
	@sh tools/setup.sh

registry:
	@sh tools/debian.sh docker-registry
	@sh tools/debian.sh skopeo 'gpgme|assuan|gpg-error|devmapper'
	@sh tools/debian.sh nginx 'pcre2-8|ssl3|crypt1'

demo: setup registry
	@$(python) tools/demo.py

test: setup registry
	$(python) -m pytest $(ARGS)

soak: setup registry
	CORRAL_SOAK=1 $(python) -m pytest -m soak $(ARGS)

bench: setup
	@for file in bench/*.py; do $(python) $$file || exit 1; done

lint: setup
	$(python) -m ruff format --check .
	$(python) -m ruff check .

types: setup
	@sh tools/types.sh

check: lint types test demo

clean:
	rm -rf build .venv
