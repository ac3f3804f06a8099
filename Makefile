# README's two commands are `make demo` and `make test`; CONTRIBUTING explains the others.
.PHONY: setup setup-native ready clients demo test check lint types bench soak registry clean
.DEFAULT_GOAL := test

python := .venv/bin/python
# Where `make registry` unpacks Debian's docker-registry, skopeo and nginx when they are not installed.
export PATH := $(CURDIR)/build/tools/usr/bin:$(PATH)

# The portable engine; setup-native makes .venv's one of this machine's own instruction sets, and setup returns.
setup:
	@sh tools/setup.sh portable

setup-native:
	@sh tools/setup.sh native

# What all the others need: with whatever engine .venv has.
ready:
	@sh tools/setup.sh

# What only the tests need.
clients: ready
	@sh tools/clients.sh

registry:
	@sh tools/debian.sh docker-registry
	@sh tools/debian.sh skopeo 'gpgme|assuan|gpg-error|devmapper'
	@sh tools/debian.sh nginx 'pcre2-8|ssl3|crypt1'

demo: ready
	@$(python) tools/demo.py

# A file's tests run one after the other, two files at once.
test: ready registry clients
	$(python) -m pytest -n 2 --dist loadfile $(ARGS)

soak: ready registry clients
	CORRAL_SOAK=1 $(python) -m pytest -m soak $(ARGS)

bench: ready
	@for file in bench/*.py; do $(python) $$file || exit 1; done

lint: ready
	$(python) -m ruff format --check .
	$(python) -m ruff check .

types: ready clients
	@sh tools/types.sh

check: lint types test demo

clean:
	rm -rf build .venv
