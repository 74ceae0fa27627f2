package lossd_test

import (
	"context"
	"errors"
	"iter"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/lossdpb"
)

// repeated gives small() some times over.
func repeated(times int) iter.Seq[lossd.Problem] {
	return func(yield func(lossd.Problem) bool) {
		for range times {
			if !yield(small()) {
				return
			}
		}
	}
}

// TestManyMatchesAnswers gives each problem labels of its own, and goes on beyond bad ones.
func TestManyMatchesAnswers(t *testing.T) {
	noLeak(t)
	client := connect(t, address)
	const problems = 3000
	sequence := func(yield func(lossd.Problem) bool) {
		for i := range problems {
			label := int64(i % 4) // 3 is no class.
			if !yield(lossd.CrossEntropy{
				Input:  lossd.NewTensor([]float32{0, 1, float32(i)}, 1, 3),
				Target: lossd.NewTensor([]int64{label}, 1), Want: lossd.Outputs{LogSumExp: true},
			}) {
				return
			}
		}
	}
	seen := make([]bool, problems)
	for i, answer := range client.EvaluateMany(t.Context(), sequence) {
		if seen[i] {
			t.Fatalf("two answers to problem %d", i)
		}
		seen[i] = true
		if i%4 == 3 {
			if e := asError(t, answer.Err); e.Reason != "LABEL_OUT_OF_RANGE" || e.Field != "target[0]" || answer.Result != nil {
				t.Errorf("problem %d: %v", i, answer.Err)
			}
			continue
		}
		if answer.Err != nil {
			t.Fatalf("problem %d: %v", i, answer.Err)
		}
		logit := []float64{0, 1, float64(i)}[i%4]
		loss, sum := answer.Result.LossValue(), answer.Result.LogSumExp.At(0)
		if difference := loss - (sum - logit); difference > 1e-3 || difference < -1e-3 {
			t.Errorf("problem %d: loss %v, log-sum-exp %v, logit %v", i, loss, sum, logit)
		}
	}
	for i, found := range seen {
		if !found {
			t.Errorf("no answer to problem %d", i)
		}
	}
}

func TestManyOfNothing(t *testing.T) {
	noLeak(t)
	for range connect(t, address).EvaluateMany(t.Context(), repeated(0)) {
		t.Error("an answer to no problem")
	}
}

// TestLeavingTheLoop: a sequence without an end stops when nobody wants more.
func TestLeavingTheLoop(t *testing.T) {
	noLeak(t)
	client := connect(t, address)
	asked, answers := 0, 0
	sequence := func(yield func(lossd.Problem) bool) {
		for yield(small()) {
			asked++
		}
	}
	for range client.EvaluateMany(t.Context(), sequence) {
		if answers++; answers == 1000 {
			break
		}
	}
	if asked > 1000+2*128 {
		t.Errorf("%d problems were asked for to give 1000 answers", asked)
	}
}

// TestManyWithoutAServer answers every problem, and does not try each for long.
func TestManyWithoutAServer(t *testing.T) {
	noLeak(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	client := connect(t, listener.Addr().String())
	defer within(t, 60*time.Second)()
	answers := 0
	for _, answer := range client.EvaluateMany(t.Context(), repeated(20_000)) {
		answers++
		if e := asError(t, answer.Err); e.Code != codes.Unavailable {
			t.Fatal(e)
		}
	}
	if answers != 20_000 {
		t.Errorf("%d answers", answers)
	}
}

func TestManyEndsWithItsContext(t *testing.T) {
	noLeak(t)
	client := connect(t, address)
	ctx, cancel := context.WithCancel(t.Context())
	answers, canceled := 0, 0
	for _, answer := range client.EvaluateMany(ctx, repeated(50_000)) {
		if answers++; answers == 100 {
			cancel()
		}
		if answer.Err != nil {
			if !errors.Is(answer.Err, context.Canceled) {
				t.Fatal(answer.Err)
			}
			canceled++
		}
	}
	if answers != 50_000 || canceled < 40_000 {
		t.Errorf("%d answers, %d of them canceled", answers, canceled)
	}
	cancel()
}

func TestManyRefusesTheLarge(t *testing.T) {
	client := connect(t, address)
	_, err := one(t, client, large())
	if e := asError(t, err); e.Code != codes.ResourceExhausted || e.Reason != "LIMIT_EXCEEDED" || e.Field != "input" {
		t.Error(err)
	}
	_, err = one(t, client, lossd.CrossEntropy{
		Input:  &lossd.Source{DType: lossdpb.DataType_DATA_TYPE_FLOAT32, Shape: []int{1, 2}},
		Target: lossd.NewTensor([]int8{0}, 1),
	})
	if e := asError(t, err); e.Code != codes.InvalidArgument || e.Field != "input" {
		t.Error(err)
	}
}

func TestPipelineFromManyGoroutines(t *testing.T) {
	noLeak(t)
	client := connect(t, socketAddress)
	pipeline := client.Pipeline(t.Context())
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			for range 100 {
				result, err := pipeline.Evaluate(t.Context(), small())
				if err != nil || result.LossValue() < 0.4 || result.LossValue() > 0.5 {
					t.Errorf("%v, %v", result, err)
				}
			}
		})
	}
	group.Wait()
	if err := pipeline.Close(); err != nil {
		t.Error(err)
	}
	_, err := pipeline.Evaluate(t.Context(), small())
	if e := asError(t, err); e.Code != codes.FailedPrecondition {
		t.Error(err)
	}
}

// TestPipelineEndsInPeace: the server sees a half-close, not a cancellation.
func TestPipelineEndsInPeace(t *testing.T) {
	noLeak(t)
	ended := make(chan error, 1)
	server := &fake{many: func(s grpc.BidiStreamingServer[lossdpb.EvaluateManyRequest, lossdpb.EvaluateManyResponse]) error {
		for {
			request, err := s.Recv()
			if err != nil {
				ended <- err
				return nil
			}
			if err := s.Send(&lossdpb.EvaluateManyResponse{
				Id: request.GetId(), Result: &lossdpb.EvaluateManyResponse_Response{Response: answer()},
			}); err != nil {
				return err
			}
		}
	}}
	client := connect(t, server.serve(t))
	for _, answer := range client.EvaluateMany(t.Context(), repeated(10)) {
		if answer.Err != nil {
			t.Fatal(answer.Err)
		}
	}
	if err := <-ended; err.Error() != "EOF" {
		t.Errorf("the stream ended with %v", err)
	}
}
