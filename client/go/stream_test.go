package lossd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/internal/lossdtest"
	"github.com/lossd/lossd/client/go/lossdpb"
)

// little gives the little-endian bytes of numbers.
func little(t testing.TB, data any) []byte {
	t.Helper()
	var buffer bytes.Buffer
	if err := binary.Write(&buffer, binary.LittleEndian, data); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// everything is a problem with all operands and outputs: probabilities, a weight of 20,000 classes and
// an incoming gradient for each position.
func everything() lossd.CrossEntropy {
	const positions, classes = 16, 20_000
	logits, _ := random(positions, classes)
	target := make([]float32, positions*classes)
	weight := make([]float32, classes)
	gradOutput := make([]float32, positions)
	for i := range target {
		target[i] = 1.0 / classes
	}
	for i := range weight {
		weight[i] = 0.5 + float32(i%7)/8
	}
	for i := range gradOutput {
		gradOutput[i] = float32(i) - 7.5
	}
	return lossd.CrossEntropy{
		Input: logits, Target: lossd.NewTensor(target, positions, classes), Weight: lossd.NewTensor(weight, classes),
		GradOutput: lossd.NewTensor(gradOutput, positions), Reduction: lossd.None, LabelSmoothing: 0.1,
		Want: lossd.Outputs{GradInput: true, GradTarget: true, GradWeight: true, LogSumExp: true, TopK: 5},
	}
}

func outputs(r *lossd.Result) []lossd.AnyTensor {
	return []lossd.AnyTensor{r.Loss, r.GradInput, r.GradTarget, r.GradWeight, r.LogSumExp}
}

func same(t *testing.T, what string, got, want *lossd.Result) {
	t.Helper()
	for i, one := range outputs(got) {
		other := outputs(want)[i]
		if !slices.Equal(one.Dims(), other.Dims()) ||
			!bytes.Equal(little(t, one.(*lossd.Tensor[float32]).Data), little(t, other.(*lossd.Tensor[float32]).Data)) {
			t.Errorf("%s: output %d differs", what, i)
		}
	}
	if got.Summary.GetCorrectTopK() != want.Summary.GetCorrectTopK() {
		t.Errorf("%s: the counts differ", what)
	}
}

// TestTransportsAgree holds every way of cutting to the bits of one message.
func TestTransportsAgree(t *testing.T) {
	client := connect(t, address)
	want, err := client.CrossEntropy(t.Context(), everything(), lossd.WithTransport(lossd.TransportUnary))
	if err != nil {
		t.Fatal(err)
	}
	for _, chunk := range []int{4097, 1 << 16, 1 << 20, math.MaxInt} {
		got, err := client.CrossEntropy(t.Context(), everything(),
			lossd.WithTransport(lossd.TransportStream), lossd.WithChunkBytes(chunk))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "a stream", got, want)
	}
}

// TestSmallServer: messages are cut to what the server takes.
func TestSmallServer(t *testing.T) {
	server, err := lossdtest.Start("--max-message-bytes", "64KiB")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	got, err := connect(t, server.Address).CrossEntropy(t.Context(), everything())
	if err != nil {
		t.Fatal(err)
	}
	want, err := connect(t, address).CrossEntropy(t.Context(), everything())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "a small server", got, want)
	_, err = connect(t, server.Address).CrossEntropy(t.Context(), everything(), lossd.WithTransport(lossd.TransportUnary))
	if e := asError(t, err); e.Code != codes.ResourceExhausted {
		t.Error(err)
	}
}

// TestSourcesAndWriters: tensors from readers, outputs to writers, the same bits.
func TestSourcesAndWriters(t *testing.T) {
	noLeak(t)
	client := connect(t, address)
	problem := everything()
	want, err := client.CrossEntropy(t.Context(), problem)
	if err != nil {
		t.Fatal(err)
	}
	source := func(operand lossd.Operand) *lossd.Source {
		tensor := operand.(*lossd.Tensor[float32])
		return &lossd.Source{
			DType: tensor.DType(), Shape: tensor.Shape, Reader: io.MultiReader(
				bytes.NewReader(little(t, tensor.Data)), endless{}),
		}
	}
	problem.Input, problem.Target = source(problem.Input), source(problem.Target)
	problem.Weight, problem.GradOutput = source(problem.Weight), source(problem.GradOutput)
	got, err := client.CrossEntropy(t.Context(), problem)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sources", got, want)

	var written [4]bytes.Buffer
	got, err = client.CrossEntropy(t.Context(), everything(), lossd.WithLossTo(&written[0]), lossd.WithGradInputTo(&written[1]),
		lossd.WithGradTargetTo(&written[2]), lossd.WithLogSumExpTo(&written[3]))
	if err != nil {
		t.Fatal(err)
	}
	for i, expected := range []lossd.AnyTensor{want.Loss, want.GradInput, want.GradTarget, want.LogSumExp} {
		if !bytes.Equal(written[i].Bytes(), little(t, expected.(*lossd.Tensor[float32]).Data)) {
			t.Errorf("writer %d: other bytes", i)
		}
	}
	if got.Loss != nil || got.GradInput != nil || got.GradTarget != nil || got.LogSumExp != nil || got.GradWeight == nil {
		t.Errorf("got %v: what was written is nil, what was not is there", got)
	}
	if !math.IsNaN(got.LossValue()) {
		t.Errorf("LossValue of a loss that was written: %v", got.LossValue())
	}
}

// endless has bytes that nobody may read.
type endless struct{}

func (endless) Read([]byte) (int, error) { return 0, errors.New("read beyond the shape") }

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestBrokenSourcesAndWriters(t *testing.T) {
	noLeak(t)
	client := connect(t, address)
	problem := small()
	source := &lossd.Source{DType: lossdpb.DataType_DATA_TYPE_FLOAT32, Shape: []int{2, 3}}
	problem.Input = source
	for _, test := range []struct {
		reader io.Reader
		reason string
		cause  error
	}{
		{bytes.NewReader(make([]byte, 23)), "LENGTH_MISMATCH", io.ErrUnexpectedEOF},
		{bytes.NewReader(nil), "LENGTH_MISMATCH", io.ErrUnexpectedEOF},
		{io.MultiReader(bytes.NewReader(make([]byte, 8)), broken{io.ErrNoProgress}), "", io.ErrNoProgress},
		{nil, "FIELD_MISSING", nil},
	} {
		source.Reader = test.reader
		_, err := client.CrossEntropy(t.Context(), problem)
		e := asError(t, err)
		if e.Field != "input" || e.Reason != test.reason || test.cause != nil && !errors.Is(err, test.cause) {
			t.Errorf("%v of field %q, expected %v", err, e.Field, test.cause)
		}
	}
	source.Reader = bytes.NewReader(nil)
	_, err := client.CrossEntropy(t.Context(), problem, lossd.WithTransport(lossd.TransportUnary))
	if asError(t, err).Field != "transport" {
		t.Error(err)
	}
	_, err = client.CrossEntropy(t.Context(), small(), lossd.WithLossTo(brokenWriter{}))
	if e := asError(t, err); e.Field != "loss" || !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
	source.DType = 99
	_, err = client.CrossEntropy(t.Context(), problem)
	if e := asError(t, err); e.Field != "input.dtype" {
		t.Error(err)
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// TestStuckSource: a Read that never returns does not hold up an error.
func TestStuckSource(t *testing.T) {
	reader, writer := io.Pipe()
	defer writer.Close()
	problem := small()
	problem.LabelSmoothing = 7
	problem.Input = &lossd.Source{DType: lossdpb.DataType_DATA_TYPE_FLOAT32, Shape: []int{2, 3}, Reader: reader}
	_, err := connect(t, address).CrossEntropy(t.Context(), problem)
	if e := asError(t, err); e.Field != "label_smoothing" {
		t.Error(err)
	}
}

func TestProgress(t *testing.T) {
	client := connect(t, address)
	var last lossd.Progress
	calls := 0
	problem := everything()
	_, err := client.CrossEntropy(t.Context(), problem, lossd.WithChunkBytes(1<<16), lossd.WithProgress(func(now lossd.Progress) {
		if now.Sent < last.Sent || now.Received < last.Received || now.ToSend != last.ToSend && calls > 0 {
			t.Errorf("%+v after %+v", now, last)
		}
		last = now
		calls++
	}))
	if err != nil {
		t.Fatal(err)
	}
	tensor, vector, row := int64(4*16*20_000), int64(4*20_000), int64(4*16)
	want := lossd.Progress{
		Sent: 2*tensor + vector + row, ToSend: 2*tensor + vector + row,
		Received: 2*tensor + vector + 2*row, ToReceive: 2*tensor + vector + 2*row,
	}
	if last != want || calls < 20 {
		t.Errorf("%+v after %d calls, expected %+v", last, calls, want)
	}
}
