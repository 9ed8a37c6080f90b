# culvert: three commands do all the set-up.
#   make demo   build, then run two backends, a policy and a relay on loopback
#   make test   install what the tests need from Debian's packages, then run everything
#   make deb    build the Debian package, into target/package

CARGO ?= cargo
include packaging/release.mk
# Time that `make fuzz` spends on each target, in seconds.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = query answer zone image policy control transfer tsig

.PHONY: all demo check test soak lint bench fuzz install-test-tools clean \
    deb package-test release-check install-package-tools

all:
	$(RELEASE_BUILD)

demo: all
	$(CARGO_TARGET_DIR)/release/culvert demo

check: all
	$(CARGO_TARGET_DIR)/release/culvert demo --check

test: install-test-tools lint
	$(CARGO) test --locked --no-fail-fast

# The long life of a big zone in full; `make test` has a tenth of it. Takes about a minute.
soak:
	CULVERT_SOAK=1000000x1000 $(CARGO) test --locked --test it supply_soak -- \
	    --nocapture --test-threads=1

# The package goes where no other build's files are.
PACKAGES = $(CARGO_TARGET_DIR)/package
deb: install-package-tools
	dpkg-buildpackage --build=binary --no-sign
	mkdir -p $(PACKAGES) && rm -f $(PACKAGES)/culvert*
	for file in $$(cut -d' ' -f1 debian/files); do mv ../$$file $(PACKAGES)/; done
	mv ../culvert_*_$$(dpkg --print-architecture).changes $(PACKAGES)/
	@ls -l $(PACKAGES)/*.deb

# The package in Debian 12 and 13 that boot a real systemd, on this machine. Needs root.
package-test: deb
	packaging/test/package.sh $(PACKAGES)
	CULVERT=$(CARGO_TARGET_DIR)/release/culvert packaging/test/pair.sh

# What takes longer, before a release: see docs/RELEASING.md.
release-check: deb
	packaging/test/release.sh $(PACKAGES)

install-package-tools:
	packaging/test/install-tools

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
