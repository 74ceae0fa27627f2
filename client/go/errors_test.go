package lossd_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/lossdpb"
)

// small is a problem of 2 positions and 3 classes.
func small() lossd.CrossEntropy {
	return lossd.CrossEntropy{
		Input:  lossd.NewTensor([]float32{1, 2, 3, 1, 0, 0}, 2, 3),
		Target: lossd.NewTensor([]int64{2, 0}, 2),
	}
}

// asError gives the *lossd.Error that every error has to be.
func asError(t *testing.T, err error) *lossd.Error {
	t.Helper()
	var e *lossd.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %#v, expected a *lossd.Error", err)
	}
	return e
}

type badInput struct {
	name          string
	field, reason string
	change        func(*lossd.CrossEntropy)
}

var badInputs = []badInput{
	{"no input", "input", "FIELD_MISSING", func(p *lossd.CrossEntropy) { p.Input = nil }},
	{"nil input", "input", "FIELD_MISSING", func(p *lossd.CrossEntropy) { p.Input = (*lossd.Tensor[float32])(nil) }},
	{"no target", "target", "FIELD_MISSING", func(p *lossd.CrossEntropy) { p.Target = nil }},
	{"short input", "input", "LENGTH_MISMATCH", func(p *lossd.CrossEntropy) { p.Input = lossd.NewTensor(make([]float32, 5), 2, 3) }},
	{"long target", "target", "LENGTH_MISMATCH", func(p *lossd.CrossEntropy) { p.Target = lossd.NewTensor(make([]int64, 3), 2) }},
	{"short weight", "criterion.cross_entropy.weight", "LENGTH_MISMATCH", func(p *lossd.CrossEntropy) { p.Weight = lossd.NewTensor(make([]float32, 2), 3) }},
	{"long gradient", "grad_output", "LENGTH_MISMATCH", func(p *lossd.CrossEntropy) { p.GradOutput = lossd.NewTensor(make([]float32, 2)) }},
	{"negative size", "input.shape", "SIZE_NEGATIVE", func(p *lossd.CrossEntropy) { p.Input = lossd.NewTensor([]float32{}, 0, -3) }},
	{"great shape", "input.shape", "SHAPE_OVERFLOW", func(p *lossd.CrossEntropy) { p.Input = lossd.NewTensor([]float32{}, 1<<40, 1<<40) }},
	{"scalar input", "input.shape", "RANK_MISMATCH", func(p *lossd.CrossEntropy) { p.Input = lossd.NewTensor([]float32{1}) }},
	{"no classes", "input.shape", "CLASSES_EMPTY", func(p *lossd.CrossEntropy) { p.Input = lossd.NewTensor([]float32{}, 2, 0) }},
	{"class axis", "criterion.cross_entropy.class_axis", "CLASS_AXIS_RANGE", func(p *lossd.CrossEntropy) { p.ClassAxis = new(2) }},
	{"far class axis", "criterion.cross_entropy.class_axis", "CLASS_AXIS_RANGE", func(p *lossd.CrossEntropy) { p.ClassAxis = new(math.MinInt64) }},
	{"unknown reduction", "criterion.reduction", "ENUM_UNKNOWN", func(p *lossd.CrossEntropy) { p.Reduction = 9 }},
	{"unknown mean", "criterion.empty_mean", "ENUM_UNKNOWN", func(p *lossd.CrossEntropy) { p.EmptyMean = -1 }},
	{"integer input", "input.dtype", "DTYPE_UNSUPPORTED", func(p *lossd.CrossEntropy) { p.Input = lossd.NewTensor(make([]int32, 6), 2, 3) }},
	{"target's shape", "target.shape", "SHAPE_MISMATCH", func(p *lossd.CrossEntropy) { p.Target = lossd.NewTensor(make([]int8, 3), 3) }},
	{"weight's type", "criterion.cross_entropy.weight.dtype", "DTYPE_MISMATCH", func(p *lossd.CrossEntropy) { p.Weight = lossd.NewTensor(make([]float64, 3), 3) }},
	{"label", "target[1]", "LABEL_OUT_OF_RANGE", func(p *lossd.CrossEntropy) { p.Target = lossd.NewTensor([]uint64{2, 1 << 63}, 2) }},
	{"smoothing", "criterion.cross_entropy.label_smoothing", "LABEL_SMOOTHING_RANGE", func(p *lossd.CrossEntropy) { p.LabelSmoothing = math.NaN() }},
	{"normalizer", "criterion.normalizer", "NORMALIZER_RANGE", func(p *lossd.CrossEntropy) { p.Normalizer = new(0.0) }},
	{"normalizer without mean", "criterion.normalizer", "NORMALIZER_WITHOUT_MEAN", func(p *lossd.CrossEntropy) { p.Normalizer, p.Reduction = new(2.0), lossd.Sum }},
	{"gradient without use", "grad_output", "GRAD_OUTPUT_UNUSED", func(p *lossd.CrossEntropy) { p.GradOutput = lossd.NewTensor([]float32{1}) }},
	{"gradient of labels", "outputs.grad_target", "GRAD_TARGET_OF_CLASS_INDEX", func(p *lossd.CrossEntropy) { p.Want.GradTarget = true }},
	{"gradient of no weight", "outputs.grad_weight", "GRAD_WEIGHT_WITHOUT_WEIGHT", func(p *lossd.CrossEntropy) { p.Want.GradWeight = true }},
}

// TestBadInput holds all ways to the same field and reason, whoever finds the error.
func TestBadInput(t *testing.T) {
	client := connect(t, address)
	for _, bad := range badInputs {
		problem := small()
		bad.change(&problem)
		field := strings.NewReplacer("criterion.", "", "cross_entropy.", "", "outputs.", "").Replace(bad.field)
		for way, evaluate := range map[string]func() (*lossd.Result, error){
			"unary": func() (*lossd.Result, error) {
				return client.CrossEntropy(t.Context(), problem, lossd.WithTransport(lossd.TransportUnary))
			},
			"stream": func() (*lossd.Result, error) {
				return client.CrossEntropy(t.Context(), problem, lossd.WithTransport(lossd.TransportStream))
			},
			"many": func() (*lossd.Result, error) { return one(t, client, problem) },
		} {
			result, err := evaluate()
			if result != nil || err == nil {
				t.Errorf("%s, %s: no error", bad.name, way)
				continue
			}
			e := asError(t, err)
			if e.Code != codes.InvalidArgument || e.Field != field || e.Reason != bad.reason ||
				!strings.HasPrefix(e.Message, field+": ") || !strings.HasSuffix(err.Error(), "["+bad.reason+"]") {
				t.Errorf("%s, %s: got %v of field %q, expected %s [%s]", bad.name, way, err, e.Field, field, bad.reason)
			}
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("%s, %s: status.Code gives %v", bad.name, way, status.Code(err))
			}
		}
	}
}

// one evaluates a problem among others by EvaluateMany.
func one(t *testing.T, client *lossd.Client, problem lossd.Problem) (*lossd.Result, error) {
	t.Helper()
	problems := []lossd.Problem{small(), problem, small()}
	var found lossd.Answer
	answers := 0
	for i, answer := range client.EvaluateMany(t.Context(), slices.Values(problems)) {
		answers++
		if i == 1 {
			found = answer
		} else if answer.Err != nil {
			t.Errorf("a good problem beside a bad one: %v", answer.Err)
		}
	}
	if answers != len(problems) {
		t.Errorf("%d answers to %d problems", answers, len(problems))
	}
	return found.Result, found.Err
}

// TestOwnChecksSayWhatTheServerSays asks the server about everything that this package refuses itself.
func TestOwnChecksSayWhatTheServerSays(t *testing.T) {
	raw := func(shape []int64, bytes int) *lossdpb.Tensor {
		return &lossdpb.Tensor{
			Dtype: lossdpb.DataType_DATA_TYPE_FLOAT32, Shape: shape,
			Data: &lossdpb.Tensor_Raw{Raw: make([]byte, bytes)},
		}
	}
	labels := func() *lossdpb.Tensor {
		return &lossdpb.Tensor{
			Dtype: lossdpb.DataType_DATA_TYPE_INT8, Shape: []int64{2}, Data: &lossdpb.Tensor_Raw{Raw: make([]byte, 2)},
		}
	}
	kind := &lossdpb.CrossEntropy{}
	criterion := &lossdpb.Criterion{Kind: &lossdpb.Criterion_CrossEntropy{CrossEntropy: kind}}
	good := func() *lossdpb.EvaluateRequest {
		return &lossdpb.EvaluateRequest{Criterion: criterion, Input: raw([]int64{2, 3}, 24), Target: labels()}
	}
	client := connect(t, socketAddress)
	for name, change := range map[string]func(*lossdpb.EvaluateRequest){
		"no input":      func(r *lossdpb.EvaluateRequest) { r.Input = nil },
		"no target":     func(r *lossdpb.EvaluateRequest) { r.Target = nil },
		"short input":   func(r *lossdpb.EvaluateRequest) { r.Input = raw([]int64{2, 3}, 20) },
		"negative size": func(r *lossdpb.EvaluateRequest) { r.Input = raw([]int64{0, -3}, 0) },
		"great shape":   func(r *lossdpb.EvaluateRequest) { r.Input = raw([]int64{1 << 40, 1 << 40}, 0) },
		"scalar input":  func(r *lossdpb.EvaluateRequest) { r.Input = raw(nil, 4) },
		"no classes":    func(r *lossdpb.EvaluateRequest) { r.Input = raw([]int64{2, 0}, 0) },
		"class axis": func(r *lossdpb.EvaluateRequest) {
			r.Criterion = &lossdpb.Criterion{Kind: &lossdpb.Criterion_CrossEntropy{
				CrossEntropy: &lossdpb.CrossEntropy{ClassAxis: new(int32(2))}}}
		},
		"unknown reduction": func(r *lossdpb.EvaluateRequest) {
			r.Criterion = &lossdpb.Criterion{Kind: criterion.Kind, Reduction: 9}
		},
	} {
		request := good()
		change(request)
		_, err := client.Stub().Evaluate(t.Context(), request)
		var reason, field string
		for _, detail := range status.Convert(err).Details() {
			switch detail := detail.(type) {
			case interface{ GetReason() string }:
				reason = detail.GetReason()
			}
		}
		if before, _, ok := strings.Cut(status.Convert(err).Message(), ": "); ok {
			field = before
		}
		index := slices.IndexFunc(badInputs, func(bad badInput) bool { return bad.name == name })
		if own := badInputs[index]; reason != own.reason || field != own.field {
			t.Errorf("%s: the server says %v [%s], this package %s [%s]", name, err, reason, own.field, own.reason)
		}
	}
	if _, err := client.Stub().Evaluate(t.Context(), good()); err != nil {
		t.Errorf("the request that is changed: %v", err)
	}
}

func TestNilProblems(t *testing.T) {
	client := connect(t, address)
	for _, problem := range []lossd.Problem{nil, (*lossd.CrossEntropy)(nil), (*lossd.NLLLoss)(nil)} {
		_, err := client.Evaluate(t.Context(), problem)
		if e := asError(t, err); e.Field != "problem" || e.Code != codes.InvalidArgument {
			t.Errorf("%T: %v", problem, err)
		}
	}
	problem := small()
	if _, err := client.Evaluate(t.Context(), &problem); err != nil {
		t.Errorf("a pointer to a problem: %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	client := connect(t, address)
	for field, option := range map[string]lossd.CallOption{
		"chunk_bytes": lossd.WithChunkBytes(0), "transport": lossd.WithTransport(7),
	} {
		_, err := client.CrossEntropy(t.Context(), small(), option)
		if e := asError(t, err); e.Field != field || e.Code != codes.InvalidArgument {
			t.Errorf("%s: %v", field, err)
		}
	}
	for target, options := range map[string][]lossd.Option{
		"": nil, " ": nil, "unix:a\x00b": nil, "nonsense://%zz": nil,
		"127.0.0.1:1": {lossd.WithToken("no TLS")}, "127.0.0.1:2": {lossd.WithToken("")}, "127.0.0.1:3": {lossd.WithToken("plaintext")},
	} {
		field := "target"
		if options != nil {
			field = "token"
		}
		_, err := lossd.NewClient(target, options...)
		if e := asError(t, err); e.Field != field || e.Code != codes.InvalidArgument || strings.Contains(err.Error(), "plaintext") {
			t.Errorf("%q: got %v of field %q, expected %s", target, err, e.Field, field)
		}
	}
}
