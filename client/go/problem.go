package lossd

import (
	"math"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// Reduction says how the losses of the positions become the loss that is returned.
type Reduction int

const (
	// Mean is the sum of the losses over the sum of the weights of the positions that count (class
	// indices), or over the number of positions (probabilities).
	Mean Reduction = iota
	// Sum is the exact sum of the losses, rounded once.
	Sum
	// None keeps one loss for each position.
	None
)

// EmptyMean says what Mean gives where no position counts.
type EmptyMean int

const (
	// NaN is what PyTorch gives.
	NaN EmptyMean = iota
	// Zero is zero. Positions that count with zero weights still give NaN.
	Zero
)

// Outputs says which results are wanted beside the loss.
type Outputs struct {
	// The gradient of the input, of its shape and type.
	GradInput bool
	// The gradient of a probability target, of its shape and type.
	GradTarget bool
	// The gradient of the class weights, of their shape and type.
	GradWeight bool
	// log(sum(exp(x))) over the classes of each position, of the loss's type.
	LogSumExp bool
	// Above 0: the summary also counts the positions whose class is among the TopK greatest logits.
	TopK uint32
}

// CrossEntropy is a problem of torch.nn.CrossEntropyLoss.
type CrossEntropy struct {
	// Logits: (C), (N, C) or (N, C, d1, ..., dK); float32, float64, Float16 or BFloat16.
	Input Operand
	// Class indices of any integer type, of the input's shape without its class axis; or
	// probabilities of the input's shape, and of its type or float32 beside a half type.
	Target Operand
	// A weight for each class, (C), of the input's type or float32 beside a half type. Nil: all 1.
	Weight Operand
	// The label whose positions neither count nor get a gradient; it need not be a class. Nil: -100.
	IgnoreIndex *int64
	// How the losses are reduced; Mean if not stated.
	Reduction Reduction
	// The share of the target that is spread evenly over all classes, in [0, 1].
	LabelSmoothing float64
	// The axis of the classes, negative from the end. Nil: 1, or 0 for an input of one dimension.
	ClassAxis *int
	// The incoming gradient, of the loss's shape, and of the input's type or float32 beside a half
	// type; takes a gradient in Want. Nil: ones.
	GradOutput Operand
	// What Mean gives where no position counts; NaN if not stated.
	EmptyMean EmptyMean
	// Divides in place of the sum of weights under Mean; finite and not 0. With the whole batch's
	// divisor, each shard of a batch gives its share of the gradient.
	Normalizer *float64
	// The results wanted beside the loss.
	Want Outputs
}

// NLLLoss is a problem of torch.nn.NLLLoss. Its input holds log-probabilities, which are taken as they
// are: the loss of a position is minus the weight of its class times that class's log-probability.
type NLLLoss struct {
	// Log-probabilities: (C), (N, C) or (N, C, d1, ..., dK); float32, float64, Float16 or BFloat16.
	Input Operand
	// Class indices of any integer type, of the input's shape without its class axis.
	Target Operand
	// As CrossEntropy.Weight.
	Weight Operand
	// As CrossEntropy.IgnoreIndex.
	IgnoreIndex *int64
	// As CrossEntropy.Reduction.
	Reduction Reduction
	// As CrossEntropy.ClassAxis.
	ClassAxis *int
	// As CrossEntropy.GradOutput.
	GradOutput Operand
	// As CrossEntropy.EmptyMean.
	EmptyMean EmptyMean
	// As CrossEntropy.Normalizer.
	Normalizer *float64
	// The results wanted beside the loss.
	Want Outputs
}

// Problem is a CrossEntropy or an NLLLoss.
type Problem interface {
	problem() (*problem, *Error)
}

func (p CrossEntropy) problem() (*problem, *Error) {
	axis, err := wireAxis(p.ClassAxis)
	if err != nil {
		return nil, err
	}
	kind := &lossdpb.CrossEntropy{
		IgnoreIndex: p.IgnoreIndex, LabelSmoothing: p.LabelSmoothing, ClassAxis: axis,
	}
	criterion, err := criterionOf(p.Reduction, p.EmptyMean, p.Normalizer)
	if err != nil {
		return nil, err
	}
	criterion.Kind = &lossdpb.Criterion_CrossEntropy{CrossEntropy: kind}
	return newProblem(criterion, p.Want, p.ClassAxis,
		operands{p.Input, p.Target, p.Weight, p.GradOutput},
		func(weight *lossdpb.Tensor) { kind.Weight = weight })
}

func (p NLLLoss) problem() (*problem, *Error) {
	axis, err := wireAxis(p.ClassAxis)
	if err != nil {
		return nil, err
	}
	kind := &lossdpb.NllLoss{IgnoreIndex: p.IgnoreIndex, ClassAxis: axis}
	criterion, err := criterionOf(p.Reduction, p.EmptyMean, p.Normalizer)
	if err != nil {
		return nil, err
	}
	criterion.Kind = &lossdpb.Criterion_NllLoss{NllLoss: kind}
	return newProblem(criterion, p.Want, p.ClassAxis,
		operands{p.Input, p.Target, p.Weight, p.GradOutput},
		func(weight *lossdpb.Tensor) { kind.Weight = weight })
}

func wireAxis(axis *int) (*int32, *Error) {
	if axis == nil {
		return nil, nil
	}
	if *axis < math.MinInt32 || *axis > math.MaxInt32 {
		return nil, invalid("class_axis", "CLASS_AXIS_RANGE", "expected an axis of the input, got %d", *axis)
	}
	return new(int32(*axis)), nil
}

func criterionOf(reduction Reduction, empty EmptyMean, normalizer *float64) (*lossdpb.Criterion, *Error) {
	criterion := &lossdpb.Criterion{Normalizer: normalizer}
	switch reduction {
	case Mean:
		criterion.Reduction = lossdpb.Reduction_REDUCTION_MEAN
	case Sum:
		criterion.Reduction = lossdpb.Reduction_REDUCTION_SUM
	case None:
		criterion.Reduction = lossdpb.Reduction_REDUCTION_NONE
	default:
		return nil, invalid("reduction", "ENUM_UNKNOWN", "expected Mean, Sum or None, got %d", int(reduction))
	}
	switch empty {
	case NaN:
		criterion.EmptyMean = lossdpb.EmptyMean_EMPTY_MEAN_NAN
	case Zero:
		criterion.EmptyMean = lossdpb.EmptyMean_EMPTY_MEAN_ZERO
	default:
		return nil, invalid("empty_mean", "ENUM_UNKNOWN", "expected NaN or Zero, got %d", int(empty))
	}
	return criterion, nil
}
