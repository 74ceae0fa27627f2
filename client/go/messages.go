package lossd

import (
	"errors"
	"io"
	"iter"
	"math/bits"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// messages gives the messages of one problem in an order that every server accepts: the header, a
// large weight, class indices, then the input with the companions that go along with it in step.
//
// chunk is the bytes of data in a message, all operands together. Rounding adds a few bytes.
func messages(p *problem, chunk int) iter.Seq2[*lossdpb.EvaluateStreamRequest, *Error] {
	return func(yield func(*lossdpb.EvaluateStreamRequest, *Error) bool) {
		if !yield(&lossdpb.EvaluateStreamRequest{Header: p.header()}, nil) {
			return
		}
		if !p.weightInHeader() {
			weight := func(piece []byte) *lossdpb.EvaluateStreamRequest {
				return &lossdpb.EvaluateStreamRequest{Weight: piece}
			}
			if !pieces(&cursor{of: p.weight, name: "weight"}, chunk, weight, yield) {
				return
			}
		}
		if p.hasLabels() {
			target := func(piece []byte) *lossdpb.EvaluateStreamRequest {
				return &lossdpb.EvaluateStreamRequest{Target: piece}
			}
			if !pieces(&cursor{of: p.target, name: "target"}, chunk, target, yield) {
				return
			}
		}
		inStep(p, chunk, yield)
	}
}

// pieces sends an operand by itself.
func pieces(from *cursor, chunk int, message func([]byte) *lossdpb.EvaluateStreamRequest,
	yield func(*lossdpb.EvaluateStreamRequest, *Error) bool) bool {
	for from.taken < from.of.size {
		piece, err := from.upTo(from.taken + min(chunk, from.of.size-from.taken))
		if err != nil {
			yield(nil, err)
			return false
		}
		if !yield(message(piece), nil) {
			return false
		}
	}
	return true
}

// inStep sends the input, and beside each piece of it the same share of its companions.
func inStep(p *problem, chunk int, yield func(*lossdpb.EvaluateStreamRequest, *Error) bool) {
	input := &cursor{of: p.input, name: "input"}
	target := &cursor{of: p.target, name: "target"}
	gradOutput := &cursor{of: p.gradOutput, name: "grad_output"}
	if p.hasLabels() {
		target.of = operand{}
	}
	total := p.input.size + target.of.size + p.gradOutput.size
	step := max(1, share(chunk, p.input.size, max(1, total)))
	for first := true; first || input.taken < p.input.size; first = false {
		end := input.taken + min(step, p.input.size-input.taken)
		message := &lossdpb.EvaluateStreamRequest{}
		var failed [3]*Error
		message.Target, failed[0] = target.upTo(target.stop(end, p.input.size))
		message.GradOutput, failed[1] = gradOutput.upTo(gradOutput.stop(end, p.input.size))
		message.Input, failed[2] = input.upTo(end)
		for _, err := range failed {
			if err != nil {
				yield(nil, err)
				return
			}
		}
		if !yield(message, nil) {
			return
		}
	}
}

// cursor takes the bytes of an operand one after the other.
type cursor struct {
	of    operand
	name  string
	taken int
}

// stop tells how far a companion goes beside the input's bytes before end. A scalar goes at once.
func (c *cursor) stop(end, input int) int {
	if c.of.size <= 8 || end == input {
		return c.of.size
	}
	return share(c.of.size, end, input)
}

// upTo gives the bytes before end that were not taken yet.
func (c *cursor) upTo(end int) ([]byte, *Error) {
	begin := c.taken
	if end == begin {
		return nil, nil
	}
	c.taken = end
	if !c.of.streamed {
		return c.of.data[begin:end], nil
	}
	// A new one each time: gRPC's interceptors may keep messages.
	piece := make([]byte, end-begin)
	switch got, err := io.ReadFull(c.of.reader, piece); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e := invalid(c.name, "LENGTH_MISMATCH", "expected %d bytes for shape %v, got %d",
			c.of.size, c.of.shape, begin+got)
		e.cause = io.ErrUnexpectedEOF
		return nil, e
	case err != nil:
		return nil, callersError(c.name, "reading", err)
	}
	return piece, nil
}

// share gives a * b / c, for b <= c.
func share(a, b, c int) int {
	high, low := bits.Mul(uint(a), uint(b))
	quotient, _ := bits.Div(high, low, uint(c))
	return int(quotient)
}
