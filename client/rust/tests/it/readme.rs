//! README.md shows code that runs.

/// Lines without their indents.
fn lines(text: &str) -> String {
    let trimmed: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    trimmed.join("\n")
}

#[test]
fn each_block_is_a_piece_of_an_example_or_a_test() {
    let sources = [
        include_str!("../../examples/worked.rs"),
        include_str!("../../examples/tasks.rs"),
        include_str!("tls.rs"),
    ]
    .map(lines);
    let readme = include_str!("../../README.md");
    let blocks: Vec<_> = readme.split("```rust\n").skip(1).collect();
    assert!(blocks.len() >= 8, "loss, gradient, streams, many, shards, TLS, an error");
    for block in blocks {
        let block = lines(block.split("```").next().unwrap());
        let shown = sources.iter().any(|source| source.contains(&block));
        assert!(shown, "no example has this block of README.md:\n{block}");
    }
}
