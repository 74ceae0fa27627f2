//! One version for the whole project.

#[test]
fn is_that_of_the_project() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../version.txt");
    let version = std::fs::read_to_string(path).unwrap();
    assert_eq!(env!("CARGO_PKG_VERSION"), version.trim());
}
