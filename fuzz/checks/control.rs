//! Lines on the control socket: what is read as a request is written and read back as the same.

use culvert::admin::Request;

/// Checks one input.
pub fn check(octets: &[u8]) {
    let Ok(line) = std::str::from_utf8(octets) else { return };
    let Ok(request) = serde_json::from_str::<Request>(line) else { return };
    let written = serde_json::to_string(&request).expect("a request can be written");
    let again: Request = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(request, again);
    assert!(!written.contains('\n'), "a request is one line");
    if let Request::Explain(explain) = &request {
        // a good question or a reason
        let _ = explain.asking();
    }
}
