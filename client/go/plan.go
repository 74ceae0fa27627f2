package lossd

import (
	"slices"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// operands are the tensors that a caller gives; absent ones are nil.
type operands struct {
	input, target, weight, gradOutput Operand
}

// problem is a problem that can be framed: its tensors have as many bytes as their shapes ask for.
// The server checks all the rest.
type problem struct {
	criterion *lossdpb.Criterion
	outputs   *lossdpb.Outputs
	setWeight func(*lossdpb.Tensor)

	input, target, weight, gradOutput operand

	// Shape of the input without its class axis.
	positions []int
	count     uint64
	// The outputs that the answer has to bring.
	wanted [outputKinds]*spec
}

// outputKind numbers the tensors of an answer.
type outputKind int

const (
	lossOutput outputKind = iota
	logSumExpOutput
	gradWeightOutput
	gradTargetOutput
	gradInputOutput
	outputKinds
)

var outputNames = [outputKinds]string{"loss", "log_sum_exp", "grad_weight", "grad_target", "grad_input"}

func newProblem(criterion *lossdpb.Criterion, want Outputs, axis *int, given operands,
	setWeight func(*lossdpb.Tensor)) (*problem, *Error) {
	p := &problem{
		criterion: criterion, setWeight: setWeight,
		outputs: &lossdpb.Outputs{
			GradInput: want.GradInput, GradTarget: want.GradTarget, GradWeight: want.GradWeight,
			LogSumExp: want.LogSumExp, TopK: want.TopK,
		},
	}
	for _, tensor := range []struct {
		name  string
		given Operand
		to    *operand
	}{
		{"input", given.input, &p.input}, {"target", given.target, &p.target},
		{"weight", given.weight, &p.weight}, {"grad_output", given.gradOutput, &p.gradOutput},
	} {
		if tensor.given == nil {
			continue
		}
		checked, err := tensor.given.operand().checked(tensor.name)
		if err != nil {
			return nil, err
		}
		*tensor.to = checked
	}
	if err := p.findPositions(axis); err != nil {
		return nil, err
	}
	p.findWanted(want)
	return p, nil
}

// findPositions finds the shape of the positions: answers are measured by it.
func (p *problem) findPositions(given *int) *Error {
	if !p.input.present {
		return invalid("input", "FIELD_MISSING", "expected logits, got none")
	}
	if !p.target.present {
		return invalid("target", "FIELD_MISSING", "expected class indices or probabilities, got none")
	}
	shape := p.input.shape
	rank := len(shape)
	if rank == 0 {
		return invalid("input.shape", "RANK_MISMATCH", "expected (C), (N, C) or (N, C, d1, ..., dK), got a scalar")
	}
	axis := min(1, rank-1)
	if given != nil {
		axis = *given
	}
	if axis < -rank || axis >= rank {
		return invalid("class_axis", "CLASS_AXIS_RANGE", "expected an axis in [%d, %d) for an input of shape %v, got %d",
			-rank, rank, shape, axis)
	}
	axis = (axis + rank) % rank
	if shape[axis] == 0 {
		return invalid("input.shape", "CLASSES_EMPTY", "expected at least 1 class at axis %d, got %v", axis, shape)
	}
	p.positions = slices.Delete(slices.Clone(shape), axis, axis+1)
	count, err := elements("input", p.positions)
	p.count = uint64(count)
	return err
}

func (p *problem) findWanted(want Outputs) {
	loss := lossType(p.input.dtype)
	p.wanted[lossOutput] = &spec{dtype: loss}
	if p.criterion.Reduction == lossdpb.Reduction_REDUCTION_NONE {
		p.wanted[lossOutput].shape = p.positions
	}
	if want.LogSumExp {
		p.wanted[logSumExpOutput] = &spec{loss, p.positions}
	}
	if want.GradInput {
		p.wanted[gradInputOutput] = &spec{p.input.dtype, p.input.shape}
	}
	if want.GradTarget {
		p.wanted[gradTargetOutput] = &spec{p.target.dtype, p.target.shape}
	}
	if want.GradWeight && p.weight.present {
		p.wanted[gradWeightOutput] = &spec{p.weight.dtype, p.weight.shape}
	}
}

// bytes gives the bytes of all operands.
func (p *problem) bytes() int {
	return p.input.size + p.target.size + p.weight.size + p.gradOutput.size
}

// streamed tells whether something of it comes from a reader.
func (p *problem) streamed() bool {
	return p.input.streamed || p.target.streamed || p.weight.streamed || p.gradOutput.streamed
}

// hasLabels tells whether the target is class indices.
func (p *problem) hasLabels() bool { return !isFloating(p.target.dtype) }

// request gives the problem as one message.
func (p *problem) request() *lossdpb.EvaluateRequest {
	p.setWeight(p.weight.tensor())
	return &lossdpb.EvaluateRequest{
		Criterion: p.criterion, Outputs: p.outputs,
		Target: p.target.tensor(), GradOutput: p.gradOutput.tensor(), Input: p.input.tensor(),
	}
}

// header gives the first message of a stream. The bytes of a weight that is large follow it.
func (p *problem) header() *lossdpb.EvaluateStreamHeader {
	if p.weightInHeader() {
		p.setWeight(p.weight.tensor())
	} else {
		p.setWeight(p.weight.head())
	}
	return &lossdpb.EvaluateStreamHeader{
		Criterion: p.criterion, Outputs: p.outputs,
		Input: p.input.spec(), Target: p.target.spec(), GradOutput: p.gradOutput.spec(),
	}
}

func (p *problem) weightInHeader() bool {
	return !p.weight.present || !p.weight.streamed && p.weight.size <= alwaysFits
}
