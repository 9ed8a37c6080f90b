# culvert: two commands do all the set-up.
#   make demo   build, then run two backends, a policy and a relay on loopback
#   make test   install what the tests need from Debian's packages, then run everything

CARGO ?= cargo
# Time that `make fuzz` spends on each target, in seconds.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = query answer zone image policy control transfer tsig

.PHONY: all demo check test soak lint bench fuzz install-test-tools clean

all:
	$(CARGO) build --release --locked

demo: all
	target/release/culvert demo

check: all
	target/release/culvert demo --check

test: install-test-tools lint
	$(CARGO) test --locked --no-fail-fast

# The long life of a big zone in full; `make test` has a tenth of it. Takes about a minute.
soak:
	CULVERT_SOAK=1000000x1000 $(CARGO) test --locked --test it supply_soak -- \
	    --nocapture --test-threads=1

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

bench:
	$(CARGO) bench --locked

# On the stable toolchain: RUSTC_BOOTSTRAP lets it take the sanitizer's flags.
fuzz:
	@command -v cargo-fuzz >/dev/null || { \
	    echo "make fuzz needs cargo-fuzz; install it: cargo install cargo-fuzz --locked" >&2; \
	    exit 1; }
	@command -v c++ >/dev/null || { \
	    echo "make fuzz needs a C++ compiler; on Debian: apt-get install g++" >&2; \
	    exit 1; }
	for target in $(FUZZ_TARGETS); do \
	    mkdir -p fuzz/corpus/$$target; \
	    RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target \
	        fuzz/corpus/$$target fuzz/seeds/$$target -- \
	        -max_len=4096 -timeout=20 -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

install-test-tools:
	tests/install-tools

clean:
	$(CARGO) clean
