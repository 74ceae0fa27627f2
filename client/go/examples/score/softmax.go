package main

import (
	"context"
	"math/rand/v2"

	lossd "github.com/lossd/lossd/client/go"
)

const (
	features = 2
	classes  = 3
)

// softmax is a softmax regression: logits are linear in the features.
type softmax struct {
	weight [features][classes]float32
	bias   [classes]float32
}

// blobs gives points around three centres, and the number of each point's centre.
func blobs(points int) ([][features]float32, []int64) {
	centres := [classes][features]float32{{0, 2}, {-2, -1}, {2, -1}}
	random := rand.New(rand.NewPCG(7, 7))
	x, y := make([][features]float32, points), make([]int64, points)
	for i := range x {
		y[i] = random.Int64N(classes)
		for j := range x[i] {
			x[i][j] = centres[y[i]][j] + float32(random.NormFloat64())
		}
	}
	return x, y
}

// logits gives (points, classes) row by row.
func (s *softmax) logits(x [][features]float32) []float32 {
	out := make([]float32, 0, len(x)*classes)
	for _, point := range x {
		for c := range classes {
			logit := s.bias[c]
			for j, value := range point {
				logit += value * s.weight[j][c]
			}
			out = append(out, logit)
		}
	}
	return out
}

// train descends along gradients that the server gives.
func (s *softmax) train(ctx context.Context, client *lossd.Client, x [][features]float32, y []int64, steps int) error {
	const rate = 0.5
	for range steps {
		result, err := client.CrossEntropy(ctx, lossd.CrossEntropy{
			Input:  lossd.NewTensor(s.logits(x), len(x), classes),
			Target: lossd.NewTensor(y, len(y)),
			Want:   lossd.Outputs{GradInput: true},
		})
		if err != nil {
			return err
		}
		gradient := result.GradInput.(*lossd.Tensor[float32]).Data
		for i, point := range x {
			for c := range classes {
				step := rate * gradient[i*classes+c]
				s.bias[c] -= step
				for j, value := range point {
					s.weight[j][c] -= step * value
				}
			}
		}
	}
	return nil
}
