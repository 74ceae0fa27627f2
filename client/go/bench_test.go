package lossd_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	lossd "github.com/lossd/lossd/client/go"
)

// random gives (positions, classes) float32 logits and their labels.
func random(positions, classes int) (*lossd.Tensor[float32], *lossd.Tensor[int64]) {
	source := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, positions*classes)
	for i := range logits {
		logits[i] = float32(source.NormFloat64())
	}
	labels := make([]int64, positions)
	for i := range labels {
		labels[i] = source.Int64N(int64(classes))
	}
	return lossd.NewTensor(logits, positions, classes), lossd.NewTensor(labels, positions)
}

func BenchmarkUnary(b *testing.B) {
	client := connect(b, socketAddress)
	logits, labels := random(8, 10)
	problem := lossd.CrossEntropy{Input: logits, Target: labels, Want: lossd.Outputs{GradInput: true}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.CrossEntropy(b.Context(), problem); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStream sends 64 MiB of logits and takes 64 MiB of gradient.
func BenchmarkStream(b *testing.B) {
	client := connect(b, address)
	logits, labels := random(512, 32768)
	problem := lossd.CrossEntropy{Input: logits, Target: labels, Want: lossd.Outputs{GradInput: true}}
	b.SetBytes(64 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.CrossEntropy(b.Context(), problem); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMany(b *testing.B) {
	client := connect(b, socketAddress)
	logits, labels := random(8, 10)
	problem := lossd.CrossEntropy{Input: logits, Target: labels, Want: lossd.Outputs{GradInput: true}}
	b.ReportAllocs()
	answers := 0
	for _, answer := range client.EvaluateMany(b.Context(), func(yield func(lossd.Problem) bool) {
		for b.Loop() {
			if !yield(problem) {
				return
			}
		}
	}) {
		if answer.Err != nil {
			b.Fatal(answer.Err)
		}
		answers++
	}
	b.ReportMetric(float64(answers)/b.Elapsed().Seconds(), "answers/s")
}

func BenchmarkPipeline(b *testing.B) {
	client := connect(b, socketAddress)
	pipeline := client.Pipeline(b.Context())
	defer pipeline.Close()
	logits, labels := random(8, 10)
	problem := lossd.CrossEntropy{Input: logits, Target: labels, Want: lossd.Outputs{GradInput: true}}
	b.SetParallelism(64)
	var failed atomic.Pointer[error]
	b.RunParallel(func(loop *testing.PB) {
		for loop.Next() {
			if _, err := pipeline.Evaluate(b.Context(), problem); err != nil {
				failed.Store(&err)
			}
		}
	})
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}
