package lossd_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/lossdpb"
)

// TestUnexpectedAnswers: an answer that does not fit the question is an error, never a wrong result.
func TestUnexpectedAnswers(t *testing.T) {
	for expected, change := range map[string]func(*lossdpb.EvaluateResponse){
		"loss is missing":                      func(r *lossdpb.EvaluateResponse) { r.Loss = nil },
		"loss is FLOAT64":                      func(r *lossdpb.EvaluateResponse) { r.Loss.Dtype = lossdpb.DataType_DATA_TYPE_FLOAT64 },
		"loss is FLOAT32 of shape [1]":         func(r *lossdpb.EvaluateResponse) { r.Loss.Shape = []int64{1} },
		"loss has 3 bytes, expected 4":         func(r *lossdpb.EvaluateResponse) { r.Loss.Data = &lossdpb.Tensor_Raw{Raw: make([]byte, 3)} },
		"loss has 0 bytes, expected 4":         func(r *lossdpb.EvaluateResponse) { r.Loss.Data = nil },
		"summary is missing":                   func(r *lossdpb.EvaluateResponse) { r.Summary = nil },
		"summary.positions is 3, expected 2":   func(r *lossdpb.EvaluateResponse) { r.Summary.Positions = 3 },
		"summary.dtype is FLOAT16, expected F": func(r *lossdpb.EvaluateResponse) { r.Summary.Dtype = lossdpb.DataType_DATA_TYPE_FLOAT16 },
	} {
		server := &fake{evaluate: func(context.Context, *lossdpb.EvaluateRequest) (*lossdpb.EvaluateResponse, error) {
			response := answer()
			change(response)
			return response, nil
		}}
		result, err := connect(t, server.serve(t)).CrossEntropy(t.Context(), small())
		if e := asError(t, err); result != nil || e.Code != codes.Internal || !strings.Contains(e.Message, expected) {
			t.Errorf("%s: %v", expected, err)
		}
	}
}

func TestUnexpectedStreams(t *testing.T) {
	loss := answer().GetLoss().GetRaw()
	for expected, replies := range map[string][]*lossdpb.EvaluateStreamResponse{
		"loss is cut short: 0 bytes": {{Summary: answer().GetSummary()}},
		"loss is cut short: 3 bytes": {{Loss: loss[:3]}, {Summary: answer().GetSummary()}},
		"loss has at least 5 bytes":  {{Loss: loss}, {Loss: loss[:1]}},
		"log_sum_exp has at least":   {{LogSumExp: loss, Loss: loss, Summary: answer().GetSummary()}},
		"summary is missing":         {{Loss: loss}},
		"follows the summary":        {{Loss: loss, Summary: answer().GetSummary()}, {}},
		"summary.positions is 9":     {{Loss: loss, Summary: &lossdpb.Summary{Positions: 9}}},
	} {
		noLeak(t)
		server := &fake{stream: func(s grpc.BidiStreamingServer[lossdpb.EvaluateStreamRequest, lossdpb.EvaluateStreamResponse]) error {
			for _, reply := range replies {
				if err := s.Send(reply); err != nil {
					return err
				}
			}
			return nil
		}}
		result, err := connect(t, server.serve(t)).CrossEntropy(t.Context(), small(), lossd.WithTransport(lossd.TransportStream))
		if e := asError(t, err); result != nil || e.Code != codes.Internal || !strings.Contains(e.Message, expected) {
			t.Errorf("%s: %v", expected, err)
		}
	}
}

func TestUnexpectedManyAndCombine(t *testing.T) {
	for expected, reply := range map[string]*lossdpb.EvaluateManyResponse{
		"neither a response nor an error": {},
		"an error of code OK":             {Result: &lossdpb.EvaluateManyResponse_Error{}},
		"summary is missing":              {Result: &lossdpb.EvaluateManyResponse_Response{Response: &lossdpb.EvaluateResponse{Loss: answer().GetLoss()}}},
	} {
		server := &fake{many: func(s grpc.BidiStreamingServer[lossdpb.EvaluateManyRequest, lossdpb.EvaluateManyResponse]) error {
			request, err := s.Recv()
			if err != nil {
				return err
			}
			reply.Id = request.GetId()
			if err := s.Send(&lossdpb.EvaluateManyResponse{Id: reply.Id + 77}); err != nil { // Nobody's answer.
				return err
			}
			return s.Send(reply)
		}}
		_, err := ways["many"](t.Context(), connect(t, server.serve(t)))
		if e := asError(t, err); e.Code != codes.Internal || !strings.Contains(e.Message, expected) {
			t.Errorf("%s: %v", expected, err)
		}
	}
	for expected, reply := range map[string]*lossdpb.CombineResponse{
		"summary is missing": {},
		"loss is missing":    {Summary: answer().GetSummary()},
		"loss is no scalar":  {Summary: answer().GetSummary(), Loss: answer().GetLoss()},
	} {
		server := &fake{combine: func() (*lossdpb.CombineResponse, error) { return reply, nil }}
		_, err := connect(t, server.serve(t)).Combine(t.Context(), answer().GetSummary())
		if e := asError(t, err); e.Code != codes.Internal || !strings.Contains(e.Message, expected) {
			t.Errorf("%s: %v", expected, err)
		}
	}
}

// TestLimitsAreAskedOnce: until a server refuses something for its size.
func TestLimitsAreAskedOnce(t *testing.T) {
	var asked, unary, streams atomic.Int32
	server := &fake{
		info: func() (*lossdpb.GetServerInfoResponse, error) {
			asked.Add(1)
			return &lossdpb.GetServerInfoResponse{Limits: &lossdpb.Limits{MaxMessageBytes: 1 << 17}}, nil
		},
		evaluate: func(context.Context, *lossdpb.EvaluateRequest) (*lossdpb.EvaluateResponse, error) {
			unary.Add(1)
			return nil, refusal(codes.ResourceExhausted, "LIMIT_EXCEEDED", 0)
		},
		stream: func(grpc.BidiStreamingServer[lossdpb.EvaluateStreamRequest, lossdpb.EvaluateStreamResponse]) error {
			streams.Add(1)
			return refusal(codes.InvalidArgument, "X", 0)
		},
	}
	client := connect(t, server.serve(t))
	evaluate := func(classes int, wantAsked, wantUnary, wantStreams int32) {
		t.Helper()
		logits, labels := random(1, classes)
		_, err := client.CrossEntropy(t.Context(), lossd.CrossEntropy{Input: logits, Target: labels})
		asError(t, err)
		if asked.Load() != wantAsked || unary.Load() != wantUnary || streams.Load() != wantStreams {
			t.Errorf("%d classes: limits asked %d times, %d by message, %d by stream; expected %d, %d, %d", classes,
				asked.Load(), unary.Load(), streams.Load(), wantAsked, wantUnary, wantStreams)
		}
	}
	evaluate(1000, 0, 1, 0)   // Fits every server.
	evaluate(40_000, 1, 1, 1) // 160 kB.
	evaluate(40_000, 1, 1, 2)
	evaluate(30_000, 1, 2, 2) // 120 kB; it is refused.
	evaluate(40_000, 2, 2, 3)
}

// TestNoServerInfo: a proxy may let nothing but evaluations through.
func TestNoServerInfo(t *testing.T) {
	var streams atomic.Int32
	server := &fake{stream: func(s grpc.BidiStreamingServer[lossdpb.EvaluateStreamRequest, lossdpb.EvaluateStreamResponse]) error {
		streams.Add(1)
		for {
			message, err := s.Recv()
			if err != nil {
				break
			}
			if size := len(message.GetInput()); size > 1<<16 {
				t.Errorf("a message of %d bytes", size)
			}
		}
		return refusal(codes.InvalidArgument, "X", 0)
	}}
	logits, labels := random(1, 40_000)
	_, err := connect(t, server.serve(t)).CrossEntropy(t.Context(), lossd.CrossEntropy{Input: logits, Target: labels})
	if e := asError(t, err); e.Reason != "X" || streams.Load() != 1 {
		t.Errorf("%v after %d streams", err, streams.Load())
	}
}
