package lossd_test

import (
	"math"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/lossdpb"
)

// TestEmpty: no positions, in all ways.
func TestEmpty(t *testing.T) {
	client := connect(t, address)
	for way, evaluate := range map[string]func(lossd.Problem) (*lossd.Result, error){
		"unary": func(p lossd.Problem) (*lossd.Result, error) {
			return client.Evaluate(t.Context(), p, lossd.WithTransport(lossd.TransportUnary))
		},
		"stream": func(p lossd.Problem) (*lossd.Result, error) {
			return client.Evaluate(t.Context(), p, lossd.WithTransport(lossd.TransportStream))
		},
		"many": func(p lossd.Problem) (*lossd.Result, error) { return one(t, client, p) },
	} {
		problem := lossd.CrossEntropy{
			Input: lossd.NewTensor[float64](nil, 0, 5), Target: lossd.NewTensor([]int8{}, 0),
			Want: lossd.Outputs{GradInput: true, LogSumExp: true},
		}
		for empty, expected := range map[lossd.EmptyMean]float64{lossd.NaN: math.NaN(), lossd.Zero: 0} {
			problem.EmptyMean = empty
			result, err := evaluate(problem)
			if err != nil {
				t.Fatalf("%s: %v", way, err)
			}
			if got := result.LossValue(); got != expected && !(math.IsNaN(got) && math.IsNaN(expected)) {
				t.Errorf("%s: loss %v, expected %v", way, got, expected)
			}
			if !slices.Equal(result.GradInput.Dims(), []int{0, 5}) || result.GradInput.Len() != 0 || result.LogSumExp.Len() != 0 {
				t.Errorf("%s: gradient %v", way, result.GradInput)
			}
		}
		problem.Reduction = lossd.None
		result, err := evaluate(problem)
		if err != nil || result.Loss.Len() != 0 || !slices.Equal(result.Loss.Dims(), []int{0}) {
			t.Errorf("%s: %v, %v", way, result, err)
		}
	}
}

// TestCombine: shards give the bits of the whole, and the normalizer gives gradients in parts.
func TestCombine(t *testing.T) {
	client := connect(t, address)
	logits, labels := random(40, 10)
	weight := lossd.NewTensor([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 0.1}, 10)
	part := func(begin, end int) lossd.CrossEntropy {
		return lossd.CrossEntropy{
			Input: lossd.NewTensor(logits.Data[10*begin:10*end], end-begin, 10), Weight: weight,
			Target: lossd.NewTensor(labels.Data[begin:end], end-begin),
		}
	}
	whole, err := client.CrossEntropy(t.Context(), part(0, 40))
	if err != nil {
		t.Fatal(err)
	}
	var summaries []*lossdpb.Summary
	for _, cut := range [][2]int{{0, 7}, {7, 8}, {8, 40}} {
		shard, err := client.CrossEntropy(t.Context(), part(cut[0], cut[1]))
		if err != nil {
			t.Fatal(err)
		}
		summaries = append(summaries, shard.Summary)
	}
	combined, err := client.Combine(t.Context(), summaries...)
	if err != nil {
		t.Fatal(err)
	}
	if combined.Loss.(*lossd.Tensor[float32]).Data[0] != whole.Loss.(*lossd.Tensor[float32]).Data[0] {
		t.Errorf("combined %v, whole %v", combined.Loss.At(0), whole.LossValue())
	}
	expected := 0.0
	for _, label := range labels.Data {
		expected += float64(weight.Data[label])
	}
	if got := combined.Normalizer(); math.Abs(got-expected) > 1e-6 || got != whole.Normalizer() {
		t.Errorf("normalizer %v, %v, expected %v", got, whole.Normalizer(), expected)
	}
	if got := float32(combined.LossSum() / combined.Normalizer()); got != whole.Loss.(*lossd.Tensor[float32]).Data[0] {
		t.Errorf("the sum over the normalizer is %v, the mean %v", got, whole.LossValue())
	}
	for _, wrong := range [][]*lossdpb.Summary{{}, {nil}} {
		_, err := client.Combine(t.Context(), wrong...)
		if e := asError(t, err); e.Code != codes.InvalidArgument || e.Reason != "FIELD_MISSING" || e.Field != "summaries" {
			t.Error(err)
		}
	}
	none := part(0, 40)
	none.Reduction = lossd.None
	shard, err := client.CrossEntropy(t.Context(), none)
	if err != nil {
		t.Fatal(err)
	}
	if combined, err := client.Combine(t.Context(), shard.Summary); err != nil || combined.Loss != nil {
		t.Errorf("reduction None: %v, %v", combined, err)
	}
	_, err = client.Combine(t.Context(), shard.Summary, summaries[0])
	if e := asError(t, err); e.Reason != "SUMMARY_MISMATCH" {
		t.Error(err)
	}
}

func TestValue(t *testing.T) {
	single, double := lossdpb.DataType_DATA_TYPE_BFLOAT16, lossdpb.DataType_DATA_TYPE_FLOAT64
	bytes := func(high byte, zeros int) []byte { return append(make([]byte, zeros), high) }
	for _, test := range []struct {
		sum   *lossdpb.ExactSum
		dtype lossdpb.DataType
		value float64
	}{
		{nil, single, 0},
		{&lossdpb.ExactSum{Units: []byte{1}}, single, 0x1p-149},
		{&lossdpb.ExactSum{Units: []byte{0xff}}, single, -0x1p-149},
		{&lossdpb.ExactSum{Units: []byte{0x80, 0}}, single, 0x1p-142},
		{&lossdpb.ExactSum{Units: []byte{1}}, double, 0x1p-1074},
		{&lossdpb.ExactSum{Units: bytes(0x20, 18)}, single, 1},
		{&lossdpb.ExactSum{Units: bytes(0xe0, 18)}, single, -1},
		// 2^53 + 1 and 2^53 + 3 units are halfway: ties go to even, once.
		{&lossdpb.ExactSum{Units: []byte{1, 0, 0, 0, 0, 0, 0x20}}, single, 0x1p-96},
		{&lossdpb.ExactSum{Units: []byte{3, 0, 0, 0, 0, 0, 0x20}}, single, 0x1p-96 + 0x1p-147},
		{&lossdpb.ExactSum{Units: bytes(0x10, 300)}, double, math.Inf(1)},
		{&lossdpb.ExactSum{Units: []byte{1}, PositiveInfinityCount: 1}, single, math.Inf(1)},
		{&lossdpb.ExactSum{NegativeInfinityCount: 2}, single, math.Inf(-1)},
		{&lossdpb.ExactSum{PositiveInfinityCount: 1, NegativeInfinityCount: 1}, single, math.NaN()},
		{&lossdpb.ExactSum{NanCount: 1}, single, math.NaN()},
	} {
		got := lossd.Value(test.sum, test.dtype)
		if got != test.value && !(math.IsNaN(got) && math.IsNaN(test.value)) {
			t.Errorf("%v: got %v, expected %v", test.sum, got, test.value)
		}
	}
}

func TestServerInfo(t *testing.T) {
	info, err := connect(t, address).ServerInfo(t.Context())
	if err != nil || info.GetLimits().GetMaxMessageBytes() != 4<<20 || info.GetVersion() == "" {
		t.Errorf("%v, %v", info, err)
	}
}

// TestGivenConnection: a connection of the caller's takes large answers, and stays open.
func TestGivenConnection(t *testing.T) {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	client := lossd.NewClientFromConn(connection)
	// 4.05 MB of request, 4.4 MB of answer: more than the 4 MiB that gRPC takes by default.
	logits, _ := random(50_000, 20)
	result, err := client.CrossEntropy(t.Context(), lossd.CrossEntropy{
		Input: logits, Target: lossd.NewTensor(make([]uint8, 50_000), 50_000), Reduction: lossd.None, Want: lossd.Outputs{GradInput: true, LogSumExp: true},
	}, lossd.WithTransport(lossd.TransportUnary))
	if err != nil || result.GradInput.Len() != 1_000_000 {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if _, err := lossd.NewClientFromConn(connection).ServerInfo(t.Context()); err != nil {
		t.Errorf("the connection after Close: %v", err)
	}
}
