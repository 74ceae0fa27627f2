package lossd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/lossdpb"
)

func Example() {
	client, err := lossd.NewClient(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	result, err := client.CrossEntropy(context.Background(), lossd.CrossEntropy{
		Input:  lossd.NewTensor([]float32{-1.1011, 0.6231, 0.2384, -0.3223}, 2, 2),
		Target: lossd.NewTensor([]int64{0, 1}, 2),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.7f\n", result.LossValue())
	// Output: 1.4502885
}

func exampleClient() *lossd.Client {
	client, err := lossd.NewClient(address)
	if err != nil {
		log.Fatal(err)
	}
	return client
}

func ExampleClient_CrossEntropy() {
	client, ctx := exampleClient(), context.Background()
	logits, labels := []float32{1, 2, 3, 1, 0, 0}, []uint8{2, 255}

	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	result, err := client.CrossEntropy(ctx, lossd.CrossEntropy{
		Input:          lossd.NewTensor(logits, 2, 3),
		Target:         lossd.NewTensor(labels, 2),
		LabelSmoothing: 0.1,
		IgnoreIndex:    new(int64(255)),
		Want:           lossd.Outputs{GradInput: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	grad := result.GradInput.(*lossd.Tensor[float32]) // Shape [2 3]; grad.Data is yours.
	fmt.Printf("%.4f %.4f\n", result.LossValue(), grad.Data)
	// Output: 0.5076 [0.0567 0.2114 -0.2681 0.0000 0.0000 0.0000]
}

func ExampleClient_NLLLoss() {
	client, ctx := exampleClient(), context.Background()

	result, err := client.NLLLoss(ctx, lossd.NLLLoss{
		Input:     lossd.NewTensor([]float64{-0.5, -1.5, -2.5, -0.1}, 2, 2),
		Target:    lossd.NewTensor([]int32{1, 0}, 2),
		Reduction: lossd.None,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Loss.(*lossd.Tensor[float64]).Data)
	// Output: [1.5 2.5]
}

func ExampleWithProgress() {
	client, ctx := exampleClient(), context.Background()
	logits, labels := random(64, 32_768)

	var last lossd.Progress
	result, err := client.CrossEntropy(ctx, lossd.CrossEntropy{
		Input: logits, Target: labels, Want: lossd.Outputs{GradInput: true},
	}, lossd.WithProgress(func(now lossd.Progress) { last = now }))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d of %d bytes sent, %d of %d received\n", last.Sent, last.ToSend, last.Received, last.ToReceive)
	fmt.Println(result.GradInput.Dims())
	// Output:
	// 8389120 of 8389120 bytes sent, 8388612 of 8388612 received
	// [64 32768]
}

func ExampleSource() {
	client, ctx := exampleClient(), context.Background()
	file, gradients := io.LimitReader(zeros{}, 4*2*3), io.Discard
	labels := []int16{2, 0}

	result, err := client.CrossEntropy(ctx, lossd.CrossEntropy{
		Input:  &lossd.Source{DType: lossdpb.DataType_DATA_TYPE_FLOAT32, Shape: []int{2, 3}, Reader: file},
		Target: lossd.NewTensor(labels, 2),
		Want:   lossd.Outputs{GradInput: true},
	}, lossd.WithGradInputTo(gradients))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.6f\n", result.LossValue())
	// Output: 1.098612
}

// zeros is a file of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func ExampleClient_EvaluateMany() {
	client, ctx := exampleClient(), context.Background()
	var problems []lossd.Problem
	for label := range int64(4) {
		problems = append(problems, lossd.CrossEntropy{
			Input: lossd.NewTensor([]float32{1, 2, 3}, 3), Target: lossd.NewTensor([]int64{label}),
		})
	}

	losses := make([]float64, len(problems))
	for i, answer := range client.EvaluateMany(ctx, slices.Values(problems)) {
		if answer.Err != nil { // Of this problem alone.
			fmt.Println(answer.Err)
			continue
		}
		losses[i] = answer.Result.LossValue()
	}
	fmt.Printf("%.4f\n", losses)
	// Output:
	// lossd: InvalidArgument: target[0]: expected a class in [0, 3) or ignore_index -100, got 3 [LABEL_OUT_OF_RANGE]
	// [2.4076 1.4076 0.4076 0.0000]
}

func ExamplePipeline() {
	client, ctx := exampleClient(), context.Background()
	problem := lossd.CrossEntropy{
		Input: lossd.NewTensor([]float32{1, 2, 3}, 3), Target: lossd.NewTensor([]int64{0}),
	}

	pipeline := client.Pipeline(ctx)
	defer pipeline.Close()
	result, err := pipeline.Evaluate(ctx, problem) // From as many goroutines as you like.
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f\n", result.LossValue())
	// Output: 2.4076
}

func ExampleClient_Combine() {
	client, ctx := exampleClient(), context.Background()
	shards := []lossd.CrossEntropy{
		{Input: lossd.NewTensor([]float32{1, 2, 3}, 1, 3), Target: lossd.NewTensor([]int64{0}, 1)},
		{Input: lossd.NewTensor([]float32{1, 0, 0, 0, 0, 1}, 2, 3), Target: lossd.NewTensor([]int64{0, 1}, 2)},
	}

	var summaries []*lossdpb.Summary
	for _, shard := range shards { // Here or on many machines.
		result, err := client.CrossEntropy(ctx, shard)
		if err != nil {
			log.Fatal(err)
		}
		summaries = append(summaries, result.Summary)
	}
	whole, err := client.Combine(ctx, summaries...)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f over %v positions\n", whole.Loss.At(0), whole.Normalizer())
	// Output: 1.5035 over 3 positions
}

func ExampleError() {
	client, ctx := exampleClient(), context.Background()
	problem := lossd.CrossEntropy{
		Input: lossd.NewTensor([]float32{1, 2, 3, 4}, 2, 2), Target: lossd.NewTensor([]int64{0, 7}, 2),
	}

	_, err := client.CrossEntropy(ctx, problem)
	var failed *lossd.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Println("it took too long")
	case errors.As(err, &failed):
		fmt.Println(failed.Code, failed.Field, failed.Reason, failed.RetryAfter, failed.Metadata["classes"])
	}
	// Output: InvalidArgument target[1] LABEL_OUT_OF_RANGE 0s 2
}

func ExampleWithTLS() {
	own, roots, err := certificate()
	if err != nil {
		log.Fatal(err)
	}
	address, stop, err := guarded("TOKEN").start(grpc.Creds(credentials.NewServerTLSFromCert(&own)))
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	client, err := lossd.NewClient(address,
		lossd.WithTLS(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}),
		lossd.WithToken("TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	result, err := client.CrossEntropy(context.Background(), small())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.LossValue()) // This server answers 1 to everything.
	// Output: 1
}
