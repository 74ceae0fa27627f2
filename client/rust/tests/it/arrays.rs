//! Arrays of the crates ndarray and half.

use half::{bf16, f16};
use lossd_client::{CrossEntropy, Dtype, FloatTensor, IntoTensor as _, NllLoss};
use ndarray::{Array1, Array2, ArrayD, array, s};

use crate::server::Server;

#[tokio::test]
async fn arrays_of_any_order_are_tensors() {
    let server = Server::start();
    let client = server.client().await;
    let x: Array2<f32> = array![[1.0, 2.0, 3.0], [3.0, 1.0, 0.0]];
    let y: Array1<i64> = array![2, 0];
    let plain = client.evaluate(CrossEntropy::new(&x, &y).grad()).await.unwrap();
    // The same elements in column-major order, and every second row of a longer array.
    let columns = x.t().as_standard_layout().into_owned();
    let turned = client.evaluate(CrossEntropy::new(columns.t(), y.view()).grad()).await.unwrap();
    let longer = array![[1.0f32, 2.0, 3.0], [9.0, 9.0, 9.0], [3.0, 1.0, 0.0]];
    let sliced = CrossEntropy::new(longer.slice(s![..;2, ..]), &y).grad();
    assert_eq!(turned, plain);
    assert_eq!(client.evaluate(sliced).await.unwrap(), plain);
    let grad: ArrayD<f32> = plain.grad.unwrap().into();
    assert_eq!(grad.shape(), [2, 3]);
    assert!(grad.sum().abs() < 1e-6, "the gradient of a row sums to 0");
}

#[tokio::test]
async fn halves_have_losses_of_float32() {
    let server = Server::start();
    let client = server.client().await;
    let x = [[1.0f32, 2.0, 3.0]].map(|row| row.map(f16::from_f32));
    let half = CrossEntropy::new(&x, &[1u64]).weight(&[1.0f32, 2.0, 3.0]).grad().grad_weight();
    let got = client.evaluate(half).await.unwrap();
    let loss: f32 = got.loss.item().unwrap();
    assert!((loss - 1.407606).abs() < 1e-5, "{loss}");
    assert!(matches!(got.grad_weight, Some(FloatTensor::Float32(_))));
    let grad: &[f16] = got.grad.as_ref().unwrap().as_slice();
    assert_eq!(grad.len(), 3);
    let y = [[-1.0f32, -2.0]].map(|row| row.map(bf16::from_f32));
    let got = client.evaluate(NllLoss::new(&y, &[1i8]).weight(&[bf16::ONE; 2]).grad_weight()).await;
    assert_eq!(got.unwrap().grad_weight.unwrap().dtype(), Dtype::Bfloat16);
}

#[test]
fn arrays_in_row_major_order_are_lent() {
    let x = array![[1.0f32, 2.0], [3.0, 4.0]];
    let lent = format!("{:?}", (&x).into_tensor());
    assert!(lent.contains("Lent"), "{lent}");
    assert!(format!("{:?}", x.t().into_tensor()).contains("Shared"));
}
