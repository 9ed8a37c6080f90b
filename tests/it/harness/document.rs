//! Documents that tests keep true: text between markers that is made anew and compared.
//!
//! A part begins with `<!-- NAME -->` and ends with `<!-- end -->`, each on a line of its own.

use std::path::Path;
use std::sync::Mutex;

/// What ends a part.
const END: &str = "\n<!-- end -->";

/// One writer at a time: tests run side by side, and two of them may keep one document.
static ONE: Mutex<()> = Mutex::new(());

/// A document of the repository as it is now.
#[track_caller]
pub fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Fails unless the document has these parts, by name, just as they are here; with
/// `CULVERT_WRITE=1` it writes them.
#[track_caller]
pub fn hold(path: &str, parts: &[(String, String)]) {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let found = read(path);
    let mut made = found.clone();
    for (name, text) in parts {
        made = with_part(&made, name, text).unwrap_or_else(|| {
            panic!("{path} has no part <!-- {name} --> that ends with <!-- end -->")
        });
    }
    if made == found {
        return;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("CULVERT_WRITE").is_some() {
        return std::fs::write(file, made).expect("the document is written");
    }
    let differs = found.lines().zip(made.lines()).zip(1..).find(|((old, new), _)| old != new);
    let ((old, new), line) = differs.unwrap_or((("", ""), 0));
    panic!(
        "{path} is out of date: test again with CULVERT_WRITE=1\n  line {line}\n  \
         it says  {old}\n  true is  {new}"
    );
}

fn with_part(document: &str, name: &str, text: &str) -> Option<String> {
    let marker = format!("<!-- {name} -->");
    let (front, rest) = document.split_once(&marker)?;
    let (_, back) = rest.split_once(END)?;
    Some(format!("{front}{marker}\n{}{END}{back}", text.trim_end()))
}
