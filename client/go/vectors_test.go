package lossd_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	lossd "github.com/lossd/lossd/client/go"
)

// number is a value of a vector: a JSON number, or the string "nan", "inf" or "-inf". Its text is
// kept: labels may exceed what a float64 holds.
type number string

func (n *number) UnmarshalJSON(text []byte) error {
	*n = number(bytes.Trim(text, `"`))
	return nil
}

func (n number) float(t testing.TB) float64 {
	t.Helper()
	value, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// array is a tensor of a vector.
type array struct {
	DType  string   `json:"dtype"`
	Shape  []int    `json:"shape"`
	Values []number `json:"values"`
}

// vector is a line of tests/conformance.
type vector struct {
	Criterion      string   `json:"criterion"`
	Name           string   `json:"name"`
	DType          string   `json:"dtype"`
	Shape          []int    `json:"shape"`
	Reduction      string   `json:"reduction"`
	Input          []number `json:"input"`
	Target         array    `json:"target"`
	Weight         *array   `json:"weight"`
	IgnoreIndex    *int64   `json:"ignore_index"`
	LabelSmoothing float64  `json:"label_smoothing"`
	ClassAxis      *int     `json:"class_axis"`
	GradOutput     *array   `json:"grad_output"`
	Expect         struct {
		Loss       []number `json:"loss"`
		GradInput  []number `json:"grad_input"`
		GradTarget []number `json:"grad_target"`
		GradWeight []number `json:"grad_weight"`
	} `json:"expect"`
}

// readVectors gives all vectors, in the order of the files' names and of their lines. A key that this
// test does not know is an error: it could be an option.
func readVectors(t testing.TB) []vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "tests/conformance/*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	var vectors []vector
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		for decoder.More() {
			var v vector
			if err := decoder.Decode(&v); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			vectors = append(vectors, v)
		}
	}
	return vectors
}

var reductions = map[string]lossd.Reduction{"mean": lossd.Mean, "sum": lossd.Sum, "none": lossd.None}

// problem gives the vector as a problem.
func (v *vector) problem(t testing.TB) lossd.Problem {
	t.Helper()
	reduction, ok := reductions[v.Reduction]
	if !ok {
		t.Fatalf("%s: reduction %q", v.Name, v.Reduction)
	}
	want := lossd.Outputs{
		GradInput: true, GradTarget: v.Expect.GradTarget != nil, GradWeight: v.Expect.GradWeight != nil,
	}
	input := v.tensor(t, array{v.DType, v.Shape, v.Input})
	target := v.tensor(t, v.Target)
	var weight, gradOutput lossd.Operand
	if v.Weight != nil {
		weight = v.tensor(t, array{v.Weight.DType, []int{len(v.Weight.Values)}, v.Weight.Values})
	}
	if v.GradOutput != nil {
		gradOutput = v.tensor(t, array{v.GradOutput.DType, v.lossShape(), v.GradOutput.Values})
	}
	switch v.Criterion {
	case "", "cross_entropy":
		return lossd.CrossEntropy{
			Input: input, Target: target, Weight: weight, IgnoreIndex: v.IgnoreIndex, Reduction: reduction,
			LabelSmoothing: v.LabelSmoothing, ClassAxis: v.ClassAxis, GradOutput: gradOutput, Want: want,
		}
	case "nll_loss":
		return lossd.NLLLoss{
			Input: input, Target: target, Weight: weight, IgnoreIndex: v.IgnoreIndex, Reduction: reduction,
			ClassAxis: v.ClassAxis, GradOutput: gradOutput, Want: want,
		}
	}
	t.Fatalf("%s: criterion %q", v.Name, v.Criterion)
	return nil
}

// lossShape gives the shape of the loss: the input's without the class axis, or that of a scalar.
func (v *vector) lossShape() []int {
	if v.Reduction != "none" {
		return nil
	}
	axis := min(1, len(v.Shape)-1)
	if v.ClassAxis != nil {
		axis = (*v.ClassAxis + len(v.Shape)) % len(v.Shape)
	}
	return slices.Delete(slices.Clone(v.Shape), axis, axis+1)
}

func (v *vector) tensor(t testing.TB, a array) lossd.AnyTensor {
	t.Helper()
	switch a.DType {
	case "float32":
		return floats(t, a, func(x float64) float32 { return float32(x) })
	case "float64":
		return floats(t, a, func(x float64) float64 { return x })
	case "float16":
		return floats(t, a, lossd.NewFloat16)
	case "bfloat16":
		return floats(t, a, lossd.NewBFloat16)
	case "int8":
		return signed[int8](t, a)
	case "int16":
		return signed[int16](t, a)
	case "int32":
		return signed[int32](t, a)
	case "int64":
		return signed[int64](t, a)
	case "uint8":
		return unsigned[uint8](t, a)
	case "uint16":
		return unsigned[uint16](t, a)
	case "uint32":
		return unsigned[uint32](t, a)
	case "uint64":
		return unsigned[uint64](t, a)
	}
	t.Fatalf("%s: dtype %q", v.Name, a.DType)
	return nil
}

func floats[T lossd.Element](t testing.TB, a array, convert func(float64) T) *lossd.Tensor[T] {
	t.Helper()
	data := make([]T, len(a.Values))
	for i, value := range a.Values {
		data[i] = convert(value.float(t))
	}
	return lossd.NewTensor(data, a.Shape...)
}

func signed[T int8 | int16 | int32 | int64](t testing.TB, a array) *lossd.Tensor[T] {
	t.Helper()
	data := make([]T, len(a.Values))
	for i, value := range a.Values {
		parsed, err := strconv.ParseInt(string(value), 10, 64)
		if data[i] = T(parsed); err != nil || int64(data[i]) != parsed {
			t.Fatal(fmt.Errorf("label %s: %w", value, err))
		}
	}
	return lossd.NewTensor(data, a.Shape...)
}

func unsigned[T uint8 | uint16 | uint32 | uint64](t testing.TB, a array) *lossd.Tensor[T] {
	t.Helper()
	data := make([]T, len(a.Values))
	for i, value := range a.Values {
		parsed, err := strconv.ParseUint(string(value), 10, 64)
		if data[i] = T(parsed); err != nil || uint64(data[i]) != parsed {
			t.Fatal(fmt.Errorf("label %s: %w", value, err))
		}
	}
	return lossd.NewTensor(data, a.Shape...)
}
