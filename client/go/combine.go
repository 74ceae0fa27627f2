package lossd

import (
	"context"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// Combined is the loss over all shards of a batch.
type Combined struct {
	// What all positions add up to.
	Summary *lossdpb.Summary
	// The reduced loss, with the bits that one call over all positions would give: a scalar of
	// float64 for float64 inputs, else of float32. Nil with reduction None.
	Loss AnyTensor
}

// Combine merges the summaries of shards of one batch, exactly and in any order. There must be one at
// least. Those of different criteria, types, weights or normalizers are refused.
func (c *Client) Combine(ctx context.Context, summaries ...*lossdpb.Summary) (*Combined, error) {
	for i, summary := range summaries {
		if summary == nil {
			return nil, invalid("summaries", "FIELD_MISSING", "expected a summary at %d, got nil", i)
		}
	}
	if err := c.usable(); err != nil {
		return nil, err
	}
	request := &lossdpb.CombineRequest{Summaries: summaries}
	combined, err := retry(ctx, func() (*Combined, *Error) {
		response, err := c.stub.Combine(ctx, request, callOptions...)
		if err != nil {
			return nil, c.asError(ctx, err)
		}
		return combinedOf(response)
	})
	if err != nil {
		return nil, err
	}
	return combined, nil
}

// Normalizer is as Result.Normalizer, over all shards.
func (c *Combined) Normalizer() float64 {
	return Value(c.Summary.GetNormalizer(), c.Summary.GetDtype())
}

// LossSum is as Result.LossSum, over all shards.
func (c *Combined) LossSum() float64 { return Value(c.Summary.GetLossSum(), c.Summary.GetDtype()) }

func combinedOf(response *lossdpb.CombineResponse) (*Combined, *Error) {
	summary := response.GetSummary()
	if summary == nil {
		return nil, unexpected("summary is missing")
	}
	loss := response.GetLoss()
	combined := &Combined{Summary: summary}
	switch doubles, floats := loss.GetDoubleValues().GetValues(), loss.GetFloatValues().GetValues(); {
	case loss == nil:
		if summary.GetCriterion().GetReduction() != lossdpb.Reduction_REDUCTION_NONE {
			return nil, unexpected("loss is missing")
		}
	case loss.GetDtype() == lossdpb.DataType_DATA_TYPE_FLOAT64 && len(doubles) == 1:
		combined.Loss = NewTensor(doubles)
	case loss.GetDtype() == lossdpb.DataType_DATA_TYPE_FLOAT32 && len(floats) == 1:
		combined.Loss = NewTensor(floats)
	default:
		return nil, unexpected("loss is no scalar of float32 or float64")
	}
	return combined, nil
}
