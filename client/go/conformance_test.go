package lossd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	lossd "github.com/lossd/lossd/client/go"
)

// tolerance is what a value may be away from the expected one: relative and absolute.
var tolerance = map[string][2]float64{
	"float64": {1e-13, 1e-13}, "float32": {3e-7, 1e-7}, "float16": {0x1p-10, 0x1p-24}, "bfloat16": {0x1p-7, 1e-9},
}

// TestConformance evaluates every vector by message, by a stream cut into pieces of 24 bytes, and in
// a pipeline. It writes a hash of each answer to the file that LOSSD_RESULTS names, if any.
func TestConformance(t *testing.T) {
	vectors := readVectors(t)
	if len(vectors) < 900 {
		t.Fatalf("there are %d vectors, expected 900 at least", len(vectors))
	}
	problems := make([]lossd.Problem, len(vectors))
	for i := range vectors {
		problems[i] = vectors[i].problem(t)
	}
	tcp, local := connect(t, address), connect(t, socketAddress)
	many := make([]*lossd.Result, len(vectors))
	for i, answer := range local.EvaluateMany(t.Context(), slices.Values(problems)) {
		if answer.Err != nil {
			t.Fatalf("%s many: %v", vectors[i].Name, answer.Err)
		}
		if many[i] != nil {
			t.Fatalf("%s many: a second answer", vectors[i].Name)
		}
		many[i] = answer.Result
	}
	var lines bytes.Buffer
	for i := range vectors {
		v := &vectors[i]
		unary, err := evaluate(t.Context(), local, problems[i], lossd.WithTransport(lossd.TransportUnary))
		if err != nil {
			t.Fatalf("%s unary: %v", v.Name, err)
		}
		stream, err := evaluate(t.Context(), tcp, problems[i], lossd.WithTransport(lossd.TransportStream),
			lossd.WithChunkBytes(24))
		if err != nil {
			t.Fatalf("%s stream: %v", v.Name, err)
		}
		for _, way := range []struct {
			name   string
			result *lossd.Result
		}{{"unary", unary}, {"stream", stream}, {"many", many[i]}} {
			fmt.Fprintf(&lines, "%s %s %x\n", v.Name, way.name, v.check(t, way.name, way.result))
		}
	}
	if file := os.Getenv("LOSSD_RESULTS"); file != "" {
		if err := os.WriteFile(file, lines.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// evaluate calls the method of the problem's own name.
func evaluate(ctx context.Context, client *lossd.Client, problem lossd.Problem, options ...lossd.CallOption) (*lossd.Result, error) {
	switch problem := problem.(type) {
	case lossd.CrossEntropy:
		return client.CrossEntropy(ctx, problem, options...)
	case lossd.NLLLoss:
		return client.NLLLoss(ctx, problem, options...)
	}
	panic("no other problems")
}

// check holds a result to what the vector expects, and gives its hash.
func (v *vector) check(t *testing.T, way string, result *lossd.Result) [sha256.Size]byte {
	t.Helper()
	lossType := "float32"
	if v.DType == "float64" {
		lossType = "float64"
	}
	var all []byte
	one := func(what string, got lossd.AnyTensor, expected []number, dtype string, shape []int) {
		if expected == nil {
			if got != nil {
				t.Errorf("%s %s: %s was not asked for", v.Name, way, what)
			}
			return
		}
		all = append(all, v.compare(t, way+": "+what, got, expected, dtype, shape)...)
	}
	one("loss", result.Loss, v.Expect.Loss, lossType, v.lossShape())
	one("grad_input", result.GradInput, v.Expect.GradInput, v.DType, v.Shape)
	one("grad_target", result.GradTarget, v.Expect.GradTarget, v.Target.DType, v.Target.Shape)
	if v.Weight != nil {
		one("grad_weight", result.GradWeight, v.Expect.GradWeight, v.Weight.DType, []int{len(v.Weight.Values)})
	}
	return sha256.Sum256(all)
}

// compare holds a tensor to the expected values, and gives its little-endian bytes.
func (v *vector) compare(t *testing.T, what string, got lossd.AnyTensor, expected []number, dtype string, shape []int) []byte {
	t.Helper()
	if got == nil {
		t.Fatalf("%s %s is missing", v.Name, what)
	}
	var little bytes.Buffer
	var data any
	isOf := ""
	switch tensor := got.(type) {
	case *lossd.Tensor[float32]:
		data, isOf = tensor.Data, "float32"
	case *lossd.Tensor[float64]:
		data, isOf = tensor.Data, "float64"
	case *lossd.Tensor[lossd.Float16]:
		data, isOf = tensor.Data, "float16"
	case *lossd.Tensor[lossd.BFloat16]:
		data, isOf = tensor.Data, "bfloat16"
	}
	if isOf != dtype || !slices.Equal(got.Dims(), shape) || got.Len() != len(expected) {
		t.Fatalf("%s %s: got %T of shape %v with %d elements, expected %s of shape %v with %d", v.Name, what,
			got, got.Dims(), got.Len(), dtype, shape, len(expected))
	}
	for i, text := range expected {
		near := tolerance[dtype]
		want, value := text.float(t), got.At(i)
		same := want == value || math.IsNaN(want) && math.IsNaN(value)
		if !same && !(math.Abs(value-want) <= near[1]+near[0]*math.Abs(want)) {
			t.Errorf("%s %s[%d]: got %v, expected %v", v.Name, what, i, value, want)
		}
	}
	if err := binary.Write(&little, binary.LittleEndian, data); err != nil {
		t.Fatal(err)
	}
	return little.Bytes()
}
