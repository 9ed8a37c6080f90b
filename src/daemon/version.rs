//! Which program this is: its version, and the commit where the build told it.

use std::sync::LazyLock;

/// The version of `Cargo.toml`, with the commit in parentheses if `CULVERT_COMMIT` was set at build
/// time, as it is for packages: `0.1.0 (1a2b3c4d5e6f)`.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| with_commit(option_env!("CULVERT_COMMIT").unwrap_or_default()));
    &VERSION
}

fn with_commit(commit: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match commit {
        "" => version.to_owned(),
        commit => format!("{version} ({commit})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_stands_behind_the_version() {
        assert_eq!(with_commit(""), env!("CARGO_PKG_VERSION"));
        let version = with_commit("1a2b3c4d5e6f");
        assert_eq!(version, concat!(env!("CARGO_PKG_VERSION"), " (1a2b3c4d5e6f)"));
    }
}
