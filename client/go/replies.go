package lossd

import (
	"io"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// resultOf gives the result of a problem that went as one message, measured against the question.
func resultOf(response *lossdpb.EvaluateResponse, p *problem) (*Result, *Error) {
	tensors := [outputKinds]*lossdpb.Tensor{
		lossOutput: response.GetLoss(), logSumExpOutput: response.GetLogSumExp(),
		gradWeightOutput: response.GetGradWeight(), gradTargetOutput: response.GetGradTarget(),
		gradInputOutput: response.GetGradInput(),
	}
	var data [outputKinds][]byte
	for kind, wanted := range p.wanted {
		if wanted == nil {
			continue
		}
		tensor, name := tensors[kind], outputNames[kind]
		if tensor == nil {
			return nil, unexpected("%s is missing", name)
		}
		if tensor.GetDtype() != wanted.dtype || !slices.Equal(tensor.GetShape(), wireShape(wanted.shape)) {
			return nil, unexpected("%s is %s of shape %v, expected %s of shape %v", name,
				dtypeName(tensor.GetDtype()), tensor.GetShape(), dtypeName(wanted.dtype), wanted.shape)
		}
		if data[kind] = tensor.GetRaw(); len(data[kind]) != wanted.bytes() {
			return nil, unexpected("%s has %d bytes, expected %d", name, len(data[kind]), wanted.bytes())
		}
	}
	if err := checkSummary(response.GetSummary(), p); err != nil {
		return nil, err
	}
	return newResult(p, data, response.GetSummary()), nil
}

// bytes gives the size of the tensor. Its shape is known to be sound.
func (s *spec) bytes() int {
	size := elementBytes(s.dtype)
	for _, dimension := range s.shape {
		size *= dimension
	}
	return size
}

// newResult makes tensors of the bytes of the wanted outputs; those that went to a writer are nil.
func newResult(p *problem, data [outputKinds][]byte, summary *lossdpb.Summary) *Result {
	var tensors [outputKinds]AnyTensor
	for kind, wanted := range p.wanted {
		if wanted != nil && (data[kind] != nil || wanted.bytes() == 0) {
			tensors[kind] = tensorOver(*wanted, data[kind])
		}
	}
	return &Result{
		Loss: tensors[lossOutput], LogSumExp: tensors[logSumExpOutput],
		GradWeight: tensors[gradWeightOutput], GradTarget: tensors[gradTargetOutput],
		GradInput: tensors[gradInputOutput], Summary: summary,
	}
}

func checkSummary(summary *lossdpb.Summary, p *problem) *Error {
	switch {
	case summary == nil:
		return unexpected("summary is missing")
	case summary.GetPositions() != p.count:
		return unexpected("summary.positions is %d, expected %d", summary.GetPositions(), p.count)
	case summary.GetDtype() != p.input.dtype:
		return unexpected("summary.dtype is %s, expected %s",
			dtypeName(summary.GetDtype()), dtypeName(p.input.dtype))
	}
	return nil
}

// streamOutputs are the outputs of a stream, which fill up as replies come.
type streamOutputs struct {
	problem *problem
	writers [outputKinds]io.Writer
	// Made when the first byte of an output comes: the server has then taken the problem.
	data     [outputKinds][]byte
	received [outputKinds]int
	summary  *lossdpb.Summary
}

// take keeps the bytes of a reply, and tells how many there were.
func (o *streamOutputs) take(reply *lossdpb.EvaluateStreamResponse) (int, *Error) {
	if o.summary != nil {
		return 0, unexpected("something follows the summary")
	}
	total := 0
	for kind, piece := range [outputKinds][]byte{
		lossOutput: reply.GetLoss(), logSumExpOutput: reply.GetLogSumExp(),
		gradWeightOutput: reply.GetGradWeight(), gradTargetOutput: reply.GetGradTarget(),
		gradInputOutput: reply.GetGradInput(),
	} {
		if len(piece) == 0 {
			continue
		}
		if err := o.put(outputKind(kind), piece); err != nil {
			return total, err
		}
		total += len(piece)
	}
	o.summary = reply.GetSummary()
	return total, nil
}

func (o *streamOutputs) put(kind outputKind, piece []byte) *Error {
	room := 0
	if wanted := o.problem.wanted[kind]; wanted != nil {
		room = wanted.bytes()
	}
	begin := o.received[kind]
	if len(piece) > room-begin {
		return unexpected("%s has at least %d bytes, expected %d", outputNames[kind], begin+len(piece), room)
	}
	o.received[kind] += len(piece)
	if writer := o.writers[kind]; writer != nil {
		if _, err := writer.Write(piece); err != nil {
			return callersError(outputNames[kind], "writing", err)
		}
		return nil
	}
	if o.data[kind] == nil {
		o.data[kind] = make([]byte, room)
	}
	copy(o.data[kind][begin:], piece)
	return nil
}

// result gives the result, once the call has ended with OK.
func (o *streamOutputs) result() (*Result, *Error) {
	for kind, wanted := range o.problem.wanted {
		if wanted != nil && o.received[kind] != wanted.bytes() {
			return nil, unexpected("%s is cut short: %d bytes, expected %d", outputNames[kind],
				o.received[kind], wanted.bytes())
		}
	}
	if err := checkSummary(o.summary, o.problem); err != nil {
		return nil, err
	}
	return newResult(o.problem, o.data, o.summary), nil
}

// callersError is the error of a reader or a writer of the caller's.
func callersError(field, doing string, err error) *Error {
	return &Error{
		Code: codes.Unknown, Field: field, Message: field + ": " + doing + " failed: " + err.Error(),
		cause: err,
	}
}
