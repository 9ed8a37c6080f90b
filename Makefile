# culvert: two commands do all the set-up.
#   make demo   build, then run two backends, a policy and a relay on loopback
#   make test   install what the tests need from Debian's packages, then run everything

CARGO ?= cargo

.PHONY: all demo check test lint bench install-test-tools clean

all:
	$(CARGO) build --release --locked

demo: all
	target/release/culvert demo

check: all
	target/release/culvert demo --check

test: install-test-tools lint
	$(CARGO) test --locked --no-fail-fast

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

bench:
	$(CARGO) bench --locked

install-test-tools:
	tests/install-tools

clean:
	$(CARGO) clean
