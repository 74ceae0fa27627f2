package lossd

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lossd/lossd/client/go/lossdpb"
)

type manyStream = grpc.BidiStreamingClient[lossdpb.EvaluateManyRequest, lossdpb.EvaluateManyResponse]

// peacefulEnd is how long a server gets to end a stream that has been half-closed.
const peacefulEnd = time.Second

// session is one EvaluateMany. A goroutine sends what is queued, another one hands answers out.
type session struct {
	client *Client
	// Ends the stream.
	cancel context.CancelFunc
	// Requests on their way to the sender. Unbuffered: a problem that is given up is not in it.
	queue chan *lossdpb.EvaluateManyRequest
	// Closed when there will be no more requests.
	finished chan struct{}
	// Closed when the stream has ended, for the reason that follows.
	done   chan struct{}
	reason *Error

	mutex  sync.Mutex
	lastID uint64
	// Where answers go, by id. A channel of one: nobody waits to hand an answer out.
	waiting map[uint64]chan *lossdpb.EvaluateManyResponse
}

// item is a problem with its message, for all its attempts.
type item struct {
	problem *problem
	request *lossdpb.EvaluateRequest
}

// newItem copies the tensors: a caller that gives a problem up may change them while the sender still
// has its message.
func newItem(p *problem) item {
	for _, tensor := range []*operand{&p.input, &p.target, &p.weight, &p.gradOutput} {
		tensor.data = slices.Clone(tensor.data)
	}
	return item{p, p.request()}
}

// openSession gives a session whose stream is opened in the background: that may take long, and each
// problem waits for it no longer than its own context. running counts its goroutines.
func openSession(ctx context.Context, client *Client, running *sync.WaitGroup) *session {
	streamContext, cancel := context.WithCancel(ctx)
	s := &session{
		client: client, cancel: cancel,
		queue: make(chan *lossdpb.EvaluateManyRequest), finished: make(chan struct{}), done: make(chan struct{}),
		waiting: map[uint64]chan *lossdpb.EvaluateManyResponse{},
	}
	running.Go(func() {
		stream, err := client.stub.EvaluateMany(streamContext, callOptions...)
		if err != nil {
			defer cancel()
			s.end(ctx, err)
			return
		}
		running.Go(func() { s.receive(ctx, stream) })
		s.send(stream)
	})
	return s
}

func (s *session) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// evaluate sends one problem and waits for its answer.
func (s *session) evaluate(ctx context.Context, item item) (*Result, *Error) {
	answer := make(chan *lossdpb.EvaluateManyResponse, 1)
	s.mutex.Lock()
	s.lastID++
	id := s.lastID
	s.waiting[id] = answer
	s.mutex.Unlock()
	defer s.forget(id)

	select {
	case s.queue <- &lossdpb.EvaluateManyRequest{Id: id, Request: item.request}:
	case <-s.done:
		return nil, s.failure()
	case <-ctx.Done():
		return nil, s.client.asError(ctx, ctx.Err())
	}
	select {
	case response := <-answer:
		return item.result(response)
	case <-s.done:
		select {
		case response := <-answer: // It came before the end.
			return item.result(response)
		default:
		}
		return nil, s.failure()
	case <-ctx.Done():
		return nil, s.client.asError(ctx, ctx.Err())
	}
}

func (i item) result(response *lossdpb.EvaluateManyResponse) (*Result, *Error) {
	if failed := response.GetError(); failed != nil {
		return nil, fromProto(failed)
	}
	if response.GetResponse() == nil {
		return nil, unexpected("neither a response nor an error")
	}
	return resultOf(response.GetResponse(), i.problem)
}

// failure gives each problem an error of its own: callers may change theirs.
func (s *session) failure() *Error {
	reason := *s.reason
	return &reason
}

func (s *session) forget(id uint64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.waiting, id)
}

func (s *session) send(stream manyStream) {
	for {
		select {
		case request := <-s.queue:
			if stream.Send(request) != nil {
				return // The receiver gets the reason.
			}
		case <-s.finished:
			_ = stream.CloseSend() // Its error would be the receiver's too.
			return
		case <-s.done:
			return
		}
	}
}

// finish ends the stream: in peace where every answer has come, at once where not.
func (s *session) finish() {
	s.mutex.Lock()
	idle := len(s.waiting) == 0
	s.mutex.Unlock()
	close(s.finished)
	if idle {
		timer := time.NewTimer(peacefulEnd)
		defer timer.Stop()
		select {
		case <-s.done:
		case <-timer.C:
		}
	}
	s.cancel()
}

func (s *session) receive(ctx context.Context, stream manyStream) {
	defer s.cancel()
	for {
		response, err := stream.Recv()
		if err != nil {
			s.end(ctx, err)
			return
		}
		s.mutex.Lock()
		answer := s.waiting[response.GetId()]
		delete(s.waiting, response.GetId())
		s.mutex.Unlock()
		if answer != nil { // Else nobody waits any longer.
			answer <- response
		}
	}
}

func (s *session) end(ctx context.Context, err error) {
	if errors.Is(err, io.EOF) {
		// It was not half-closed: a server that ends it with OK is on its way out.
		err = status.Error(codes.Unavailable, "the server ended the stream")
	}
	s.reason = s.client.asError(ctx, err)
	close(s.done)
}
