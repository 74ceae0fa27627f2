//! The conformance vectors as problems.

use lossd_client::{CrossEntropy, NllLoss, Problem};
use serde_json::Value;

use crate::vectors::{Number, input, labels, loss_shape, reduction, shape_of, tensor, text};

pub(crate) fn cross_entropy<T: Number>(case: &Value) -> CrossEntropy<'static, T> {
    let (input, target) = (input::<T>(case), &case["target"]);
    match text(&target["dtype"]) {
        "int8" => CrossEntropy::new(input, labels::<i8>(target)),
        "int16" => CrossEntropy::new(input, labels::<i16>(target)),
        "int32" => CrossEntropy::new(input, labels::<i32>(target)),
        "int64" => CrossEntropy::new(input, labels::<i64>(target)),
        "uint8" => CrossEntropy::new(input, labels::<u8>(target)),
        "uint16" => CrossEntropy::new(input, labels::<u16>(target)),
        "uint32" => CrossEntropy::new(input, labels::<u32>(target)),
        "uint64" => CrossEntropy::new(input, labels::<u64>(target)),
        "float32" => CrossEntropy::new(input, tensor::<f32>(target, shape_of(&target["shape"]))),
        _ => CrossEntropy::new(input, tensor::<T>(target, shape_of(&target["shape"]))),
    }
}

pub(crate) fn nll_loss<T: Number>(case: &Value) -> NllLoss<'static, T> {
    let (input, target) = (input::<T>(case), &case["target"]);
    match text(&target["dtype"]) {
        "int8" => NllLoss::new(input, labels::<i8>(target)),
        "int16" => NllLoss::new(input, labels::<i16>(target)),
        "int32" => NllLoss::new(input, labels::<i32>(target)),
        "int64" => NllLoss::new(input, labels::<i64>(target)),
        "uint8" => NllLoss::new(input, labels::<u8>(target)),
        "uint16" => NllLoss::new(input, labels::<u16>(target)),
        "uint32" => NllLoss::new(input, labels::<u32>(target)),
        _ => NllLoss::new(input, labels::<u64>(target)),
    }
}

pub(crate) fn options<T: Number, K>(
    problem: Problem<'static, T, K>,
    case: &Value,
) -> Problem<'static, T, K> {
    let mut problem = problem.grad().reduction(reduction(case));
    if let Some(axis) = case["class_axis"].as_i64() {
        problem = problem.class_axis(axis.try_into().unwrap());
    }
    if let Some(label) = case["ignore_index"].as_i64() {
        problem = problem.ignore_index(label);
    }
    if case["expect"]["grad_weight"].is_array() {
        problem = problem.grad_weight();
    }
    if let Some(values) = case["weight"]["values"].as_array() {
        let (weight, shape) = (&case["weight"], vec![values.len()]);
        problem = match text(&weight["dtype"]) {
            "float32" => problem.weight(tensor::<f32>(weight, shape)),
            _ => problem.weight(tensor::<T>(weight, shape)),
        };
    }
    if case["grad_output"].is_object() {
        let (gradient, shape) = (&case["grad_output"], loss_shape(case));
        problem = match text(&gradient["dtype"]) {
            "float32" => problem.grad_output(tensor::<f32>(gradient, shape)),
            _ => problem.grad_output(tensor::<T>(gradient, shape)),
        };
    }
    problem
}
