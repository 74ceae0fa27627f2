package lossd

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
)

// Pipeline evaluates many small problems over one open stream: each goroutine that calls Evaluate has
// a problem under way, and answers come as soon as they are done. That is several times as fast as a
// call for each. It is safe for use by many goroutines.
//
// It opens the stream with the first problem, and another one where that has ended.
type Pipeline struct {
	client  *Client
	context context.Context
	cancel  context.CancelFunc

	mutex   sync.Mutex
	current *session
	// Sessions that have goroutines.
	running sync.WaitGroup
	closed  bool
}

// Pipeline gives a pipeline that ctx bounds. Close ends it.
func (c *Client) Pipeline(ctx context.Context) *Pipeline {
	pipelineContext, cancel := context.WithCancel(ctx)
	return &Pipeline{client: c, context: pipelineContext, cancel: cancel}
}

// Evaluate evaluates one problem, which has to fit a message. ctx bounds the wait for its answer.
// Errors of a problem are its own: the pipeline goes on. Where the stream breaks, or the server says
// that it is busy, the problem is sent again: four attempts at most.
func (p *Pipeline) Evaluate(ctx context.Context, problem Problem) (*Result, error) {
	result, err := p.evaluate(ctx, problem)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// Close ends the stream. Problems under way end with code Canceled, later ones with
// FailedPrecondition. To close twice does nothing.
func (p *Pipeline) Close() error {
	p.mutex.Lock()
	current, closed := p.current, p.closed
	p.closed = true
	p.mutex.Unlock()
	if current != nil && !closed {
		current.finish()
	}
	p.cancel()
	p.running.Wait()
	return nil
}

func (p *Pipeline) evaluate(ctx context.Context, given Problem) (*Result, *Error) {
	checked, err := problemOf(given)
	if err != nil {
		return nil, err
	}
	if err := p.fits(ctx, checked); err != nil {
		return nil, err
	}
	item := newItem(checked)
	result, err := retry(ctx, func() (*Result, *Error) {
		session, err := p.session()
		if err != nil {
			return nil, err
		}
		result, err := session.evaluate(ctx, item)
		if err != nil && (err.Reason == "IDLE_STREAM" || err.Reason == "HEADER_WAIT") {
			// The stream had rested for long, and ended just before the problem came.
			err.retryInfo = true
		}
		return result, err
	})
	if err != nil && err.Code == codes.ResourceExhausted {
		p.client.forgetLimits()
	}
	return result, err
}

// fits refuses a problem that would end the stream for all.
func (p *Pipeline) fits(ctx context.Context, problem *problem) *Error {
	if problem.streamed() {
		return invalid("input", "", "expected tensors in memory for a pipeline, got a Source; Client.Evaluate takes it")
	}
	if problem.bytes() <= alwaysFits {
		return nil
	}
	most, err := p.client.mostData(ctx)
	if err != nil {
		return err
	}
	if problem.bytes() > most {
		return tooLarge(problem.bytes(), most, "Client.Evaluate takes any size")
	}
	return nil
}

// session gives the stream that takes problems now.
func (p *Pipeline) session() (*session, *Error) {
	if err := p.client.usable(); err != nil {
		return nil, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.closed {
		return nil, &Error{Code: codes.FailedPrecondition, Message: "the pipeline is closed; make another one"}
	}
	if p.current != nil && !p.current.ended() {
		return p.current, nil
	}
	p.current = openSession(p.context, p.client, &p.running)
	return p.current, nil
}
