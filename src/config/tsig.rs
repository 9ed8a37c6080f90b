//! The `[[tsig]]` sections: keys that sign zone transfers, and the files their secrets are in.
//! No message here shows a secret, or anything of a file that may be one.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use data_encoding::BASE64;

use super::resolve::{Resolver, advice};
use super::spelling::{quote, quote_path};
use super::walk::Part;
use crate::dns::name::Name;
use crate::dns::tsig::{Algorithm, Key};
use crate::limits;

/// A secret out of its base64. It has no `Debug`: nothing can print it.
#[derive(Clone)]
pub(super) struct Octets(Box<[u8]>);

/// The keys of the file.
pub(super) struct Keys {
    /// Those without a fault.
    pub(super) list: Vec<Arc<Key>>,
    /// Names of all sections in order.
    names: Vec<Name>,
    /// False if some section's name could not be read.
    names_known: bool,
}

impl Keys {
    /// The key that a zone's section names. `None` if there is none, or if it has faults itself.
    pub(super) fn of(&self, part: &Part, resolver: &mut Resolver<'_, '_>) -> Option<Arc<Key>> {
        let wanted: Name = part.given("tsig")?;
        if !self.names.contains(&wanted) && self.names_known {
            let names: Vec<String> = self.names.iter().map(Name::to_string).collect();
            let wanted = wanted.to_string();
            let advice = advice(&wanted, &names);
            let message = format!("no [[tsig]] is named {}; {advice}", quote(&wanted));
            resolver.fault(part, "tsig", message);
        }
        self.list.iter().find(|key| key.name == wanted).cloned()
    }
}

/// Reads the sections.
pub(super) fn resolve(parts: &[Part], resolver: &mut Resolver<'_, '_>) -> Keys {
    if let Some(part) = parts.get(limits::TSIG_KEYS) {
        let message = format!("there are more than {} keys", limits::TSIG_KEYS);
        resolver.report.add(part.at, "tsig[]", message);
    }
    let mut seen: HashMap<Name, usize> = HashMap::new();
    let (mut list, mut names) = (Vec::new(), Vec::new());
    for part in parts {
        resolver.required(part, "name");
        let name: Option<Name> = part.given("name");
        names.extend(name);
        if let Some(first) = name.and_then(|name| seen.insert(name, part.at("name"))) {
            let place = resolver.report.place(first, part.at("name"));
            resolver.fault(part, "name", format!("the name is taken already, on {place}"));
        }
        let algorithm = algorithm(part, resolver);
        let Some((name, secret)) = name.zip(secret(part, name, algorithm, resolver)) else {
            continue;
        };
        if secret.0.len() * 2 < hash_octets(algorithm) {
            let message = format!(
                "the secret of key {name} is short: {} octets; {} works with {}, so ask for one \
                 of that length",
                secret.0.len(),
                algorithm.as_str(),
                hash_octets(algorithm)
            );
            let key = if part.has("secret") { "secret" } else { "secret_file" };
            resolver.report.warn(part.at(key), part.key(key), message);
        }
        list.push(Arc::new(Key { name, algorithm, secret: secret.0 }));
    }
    let names_known = names.len() == parts.len();
    Keys { list, names, names_known }
}

fn algorithm(part: &Part, resolver: &mut Resolver<'_, '_>) -> Algorithm {
    let algorithm: Algorithm = part.value("algorithm");
    if algorithm.is_weak() && !part.value::<bool>("weak") && !part.is_bad("weak") {
        let message = format!(
            "{} can be broken and should not be used any more (RFC 8945); ask for a key with \
             hmac-sha256, or set weak = true if the primary knows nothing else",
            algorithm.as_str()
        );
        resolver.fault(part, "algorithm", message);
    }
    algorithm
}

/// Octets of the hash below the HMAC (RFC 8945 section 6).
fn hash_octets(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Md5 => 16,
        Algorithm::Sha1 => 20,
        Algorithm::Sha256 => 32,
        Algorithm::Sha384 => 48,
        Algorithm::Sha512 => 64,
    }
}

fn secret(
    part: &Part,
    name: Option<Name>,
    algorithm: Algorithm,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Octets> {
    match (part.has("secret_file"), part.has("secret")) {
        (true, false) => from_file(part, name, algorithm, resolver),
        (false, true) => part.given("secret"),
        (true, true) => {
            let message = "a key has either `secret_file` or `secret`; take one of them out";
            resolver.fault(part, "secret", message);
            None
        }
        (false, false) => {
            let message = "is missing: a key needs `secret_file`, or `secret`";
            resolver.report.add(part.at, part.key("secret_file"), message);
            None
        }
    }
}

/// Reads the file with a key's secret: base64 alone, or a key file of BIND.
fn from_file(
    part: &Part,
    name: Option<Name>,
    algorithm: Algorithm,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Octets> {
    let (path, file) = resolver.opened(part, "secret_file")?;
    let shown = quote_path(&path.display().to_string());
    if file.metadata().is_ok_and(|meta| meta.mode() & 0o004 != 0) {
        let message = format!("{shown} may be read by everybody on this host; chmod 640 it");
        resolver.report.warn(part.at("secret_file"), part.key("secret_file"), message);
    }
    let found = text_of(file).and_then(|text| match text.contains('{') {
        true => of_key_file(&text).map(|found| (Some((found.name, found.algorithm)), found.secret)),
        false => base64(&text).map(|secret| (None, secret)),
    });
    let (says, secret) = match found {
        Ok(found) => found,
        Err(message) => {
            resolver.fault(part, "secret_file", format!("{shown}: {message}"));
            return None;
        }
    };
    let Some((its_name, its_algorithm)) = says else { return Some(secret) };
    if name.is_some_and(|name| name != its_name) {
        let message = format!("{shown} holds the key {its_name}; correct this name, or the file");
        resolver.fault(part, "name", message);
    }
    if algorithm != its_algorithm && !part.is_bad("algorithm") {
        let its_algorithm = its_algorithm.as_str();
        let message =
            format!("{shown} says {its_algorithm}; write algorithm = \"{its_algorithm}\"");
        resolver.fault(part, "algorithm", message);
    }
    Some(secret)
}

fn text_of(file: File) -> Result<String, String> {
    let mut text = Vec::new();
    let read = file.take(limits::TSIG_FILE + 1).read_to_end(&mut text);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > limits::TSIG_FILE {
        return Err(format!("is larger than {} octets; this is no key", limits::TSIG_FILE));
    }
    String::from_utf8(text).map_err(|_| "is no text; a key is given in base64".to_owned())
}

/// Reads a secret in base64 (RFC 4648 section 4); white space around it does not matter.
pub(super) fn base64(text: &str) -> Result<Octets, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("the secret is empty".to_owned());
    }
    if text.len() as u64 > limits::TSIG_FILE {
        return Err(format!("the secret is longer than {} characters", limits::TSIG_FILE));
    }
    match BASE64.decode(text.as_bytes()) {
        Ok(octets) => Ok(Octets(octets.into_boxed_slice())),
        Err(_) => {
            let cure = "copy it whole, on one line, with the \"=\" at its end";
            Err(format!("the secret is not base64; {cure}"))
        }
    }
}

/// What a key file of BIND says.
struct KeyFile {
    name: Name,
    algorithm: Algorithm,
    secret: Octets,
}

/// Reads `key "NAME" { algorithm ALGORITHM; secret "BASE64"; };`, as `tsig-keygen` writes it.
fn of_key_file(text: &str) -> Result<KeyFile, String> {
    let shape = || {
        "is no key file; write key \"NAME\" { algorithm ...; secret \"...\"; }; or the base64 \
         alone"
            .to_owned()
    };
    let words = words(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ["key", name, "{", statements @ .., "}", ";"] = words.as_slice() else {
        return Err(shape());
    };
    if statements.contains(&"{") {
        return Err("holds more than one key; give a file with this one alone".to_owned());
    }
    let (mut algorithm, mut secret) = (None, None);
    for statement in statements.split(|word| *word == ";").filter(|words| !words.is_empty()) {
        let taken = match statement {
            ["algorithm", word] => algorithm.replace(*word).is_none(),
            ["secret", word] => secret.replace(*word).is_none(),
            _ => false,
        };
        if !taken {
            return Err(shape());
        }
    }
    let (Some(algorithm), Some(secret)) = (algorithm, secret) else { return Err(shape()) };
    let name = name.parse().map_err(|_| "the key's name is no domain name".to_owned())?;
    let algorithm = named(algorithm)
        .ok_or_else(|| "its algorithm is not known here; ask for hmac-sha256".to_owned())?;
    Ok(KeyFile { name, algorithm, secret: base64(secret)? })
}

/// An algorithm by one of its names (RFC 8945 section 6, table 3).
fn named(word: &str) -> Option<Algorithm> {
    let word = word.trim_end_matches('.').to_ascii_lowercase();
    let word = word.strip_suffix(".sig-alg.reg.int").unwrap_or(&word);
    Algorithm::ALL.into_iter().find(|known| known.as_str() == word)
}

/// The words of a file of BIND, in quotation marks or not; `{`, `}` and `;` are words too.
/// Comments are left out.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let behind = |mark: &str| rest.split_once(mark).map_or("", |(_, behind)| behind);
        rest = if first == '#' || rest.starts_with("//") {
            behind("\n")
        } else if rest.starts_with("/*") {
            behind("*/")
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (word, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
            words.push(word.to_owned());
            behind
        } else {
            let ends = |c: char| c.is_whitespace() || "{};\"".contains(c);
            // a sign of its own ends where it begins
            let end = rest.find(ends).unwrap_or(rest.len()).max(first.len_utf8());
            let (word, behind) = rest.split_at(end);
            words.push(word.to_owned());
            behind
        }
        .trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "bm90IGEgc2VjcmV0IC8vIGF0IGFsbA==";

    #[test]
    fn key_files() {
        for text in [
            format!(
                "key \"k.example\" {{\n\talgorithm hmac-sha512;\n\tsecret \"{SECRET}\";\n}};\n"
            ),
            format!(
                "# a\n// b\n/* c {{ ; }} */key k.example.{{secret {SECRET};algorithm \
                 HMAC-SHA512.;}};"
            ),
        ] {
            let found = of_key_file(&text).map_err(|e| format!("{e}: {text}")).unwrap();
            assert_eq!(found.name.to_string(), "k.example");
            assert_eq!(found.algorithm, Algorithm::Sha512);
            assert_eq!(&*found.secret.0, b"not a secret // at all");
        }
        assert_eq!(named("hmac-md5.sig-alg.reg.int"), Some(Algorithm::Md5));
        for (bad, why) in [
            ("key k { algorithm hmac-sha256; };".to_owned(), "is no key file"),
            (format!("key k {{ algorithm x; secret \"{SECRET}\"; }};"), "algorithm is not known"),
            ("key k { algorithm hmac-sha256; secret \"hush!\"; };".to_owned(), "not base64"),
            ("key k { algorithm hmac-sha256; secret \"\"; };".to_owned(), "empty"),
            ("key k { x; }; key l { y; };".to_owned(), "more than one key"),
            ("key k { secret \"hush".to_owned(), "is no key file"),
            ("{".to_owned(), "is no key file"),
            ("key a..b { algorithm hmac-sha256; secret \"aGk=\"; };".to_owned(), "domain name"),
            ("/* key".to_owned(), "is no key file"),
        ] {
            let message = of_key_file(&bad).err().expect(&bad);
            assert!(message.contains(why) && !message.contains("hush"), "{message}");
        }
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(&*base64(" aGk=\n").ok().unwrap().0, b"hi");
        for bad in ["", "  ", "aGk", "a Gk=", "aGl=", "a-_k"] {
            assert!(base64(bad).is_err(), "{bad}");
        }
    }
}
