//! The conformance vectors: JSON, with "nan", "inf" and "-inf" among the numbers.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use lossd_client::{Element, Float, Reduction, TensorRef};
use serde_json::Value;

/// A type of logits and its conversions.
pub(crate) trait Number: Float {
    /// Rounded to nearest even.
    fn of(value: f64) -> Self;
}

impl Number for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
}

impl Number for f64 {
    fn of(value: f64) -> Self {
        value
    }
}

impl Number for f16 {
    fn of(value: f64) -> Self {
        Self::from_f64(value)
    }
}

impl Number for bf16 {
    fn of(value: f64) -> Self {
        Self::from_f64(value)
    }
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance")
}

/// All vectors, in the order of files and lines.
pub(crate) fn vectors() -> Vec<Value> {
    let files = ["nll_loss.jsonl", "vectors.jsonl"];
    let mut paths: Vec<_> =
        std::fs::read_dir(folder()).unwrap().map(|it| it.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "jsonl"));
    paths.sort();
    assert!(paths.iter().map(|path| path.file_name().unwrap()).eq(files), "{paths:?}");
    let text: String = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn is_nll(case: &Value) -> bool {
    case["criterion"].as_str().unwrap_or("cross_entropy") == "nll_loss"
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

pub(crate) fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some(word) => word.parse().expect("nan, inf or -inf"),
        None => value.as_f64().expect("a number"),
    }
}

pub(crate) fn shape_of(value: &Value) -> Vec<usize> {
    let size = |size: &Value| size.as_u64().unwrap().try_into().unwrap();
    value.as_array().unwrap().iter().map(size).collect()
}

/// Shape and values of nested lists.
pub(crate) fn flat(value: &Value) -> (Vec<usize>, Vec<Value>) {
    let Some(rows) = value.as_array() else {
        return (vec![], vec![value.clone()]);
    };
    let rows: Vec<_> = rows.iter().map(flat).collect();
    let inner = rows.first().map_or(&[][..], |row| &row.0);
    let shape = [&[rows.len()], inner].concat();
    (shape, rows.into_iter().flat_map(|row| row.1).collect())
}

pub(crate) fn reduction(case: &Value) -> Reduction {
    match text(&case["reduction"]) {
        "none" => Reduction::None,
        "sum" => Reduction::Sum,
        "mean" => Reduction::Mean,
        other => panic!("reduction {other}"),
    }
}

pub(crate) fn input<T: Number>(case: &Value) -> TensorRef<'static, T> {
    let values = case["input"].as_array().unwrap().iter().map(|it| T::of(number(it))).collect();
    TensorRef::from_vec(values, shape_of(&case["shape"]))
}

pub(crate) fn tensor<T: Number>(of: &Value, shape: Vec<usize>) -> TensorRef<'static, T> {
    let values = of["values"].as_array().unwrap().iter().map(|it| T::of(number(it))).collect();
    TensorRef::from_vec(values, shape)
}

/// Class indices, exact up to 2^64.
pub(crate) fn labels<T: Element + TryFrom<i128>>(target: &Value) -> TensorRef<'static, T> {
    let exact = |value: &Value| value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    let label = |value: &Value| T::try_from(exact(value).expect("an integer")).ok().unwrap();
    let values = target["values"].as_array().unwrap().iter().map(label).collect();
    TensorRef::from_vec(values, shape_of(&target["shape"]))
}

/// The shape of the loss: one for each position, or a scalar.
pub(crate) fn loss_shape(case: &Value) -> Vec<usize> {
    if reduction(case) != Reduction::None {
        return vec![];
    }
    let mut shape = shape_of(&case["shape"]);
    let axis = case["class_axis"].as_i64().unwrap_or(if shape.len() > 1 { 1 } else { 0 });
    shape.remove(axis.rem_euclid(shape.len() as i64) as usize);
    shape
}
