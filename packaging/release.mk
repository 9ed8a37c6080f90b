# How the program is built for a release. Makefile and debian/rules both read this, so that one
# build serves the demonstration, the tests of the package and the package itself.

CULVERT_TREE := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/..)
export CARGO_HOME ?= $(HOME)/.cargo
export CARGO_TARGET_DIR ?= $(CULVERT_TREE)/target

# `culvert --version` names the commit, with a + if the tree differs; without git the version only.
RELEASE_COMMIT := $(shell git -C $(CULVERT_TREE) describe --always --exclude='*' --abbrev=12 \
	--dirty=+ 2>/dev/null)

# Two builds from two folders are equal: no path of the builder is left in the program.
RELEASE_RUSTFLAGS := --remap-path-prefix=$(CULVERT_TREE)=/usr/src/culvert \
	--remap-path-prefix=$(CARGO_HOME)/registry/src=/usr/src/crates \
	-C link-arg=-Wl,-z,relro,-z,now -C force-frame-pointers=yes
RELEASE_CFLAGS := -g -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -Wformat \
	-ffile-prefix-map=$(CARGO_HOME)/registry/src=/usr/src/crates \
	-ffile-prefix-map=$(CULVERT_TREE)=/usr/src/culvert

# Without SOURCE_DATE_EPOCH: nothing reads it, but the C parts would be built again for it.
RELEASE_BUILD = env -u SOURCE_DATE_EPOCH RUSTFLAGS="$(RELEASE_RUSTFLAGS)" CFLAGS="$(RELEASE_CFLAGS)" \
	CULVERT_COMMIT="$(RELEASE_COMMIT)" cargo build --release --locked
