package lossd

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
)

// inFlight is how many problems of an EvaluateMany are under way at once: half of the number at which
// a server stops to read. More is no faster.
const inFlight = 128

// Answer is what became of one of many problems.
type Answer struct {
	// Nil where the problem failed.
	Result *Result
	// An *Error, or nil.
	Err error
}

// EvaluateMany evaluates many small problems over one stream, and gives each one's answer, with its
// place in problems, as soon as it is done, in any order.
//
//	for i, answer := range client.EvaluateMany(ctx, slices.Values(problems)) { ... }
//
// Each problem has an answer of its own: a bad one fails alone. Where the server cannot be reached, or
// ctx is done, that is the answer to all that are left. At most 128 problems are under way at once, and
// problems is asked for more when answers have been taken; it is run in another goroutine. To leave
// the loop ends the stream, and waits until problems has returned: a sequence that waits for something
// should watch ctx.
func (c *Client) EvaluateMany(ctx context.Context, problems iter.Seq[Problem]) iter.Seq2[int, Answer] {
	return func(yield func(int, Answer) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		many := &many{
			problems: problems, pipeline: c.Pipeline(ctx),
			given: make(chan numbered[Problem]), answers: make(chan numbered[Answer]),
			left: make(chan struct{}),
		}
		whole := false
		defer func() {
			close(many.left)
			if !whole {
				cancel()
			}
			// Nothing of it runs any longer when the loop is over.
			for range many.answers {
			}
			_ = many.pipeline.Close()
		}()
		go many.feed()
		go many.work(ctx)
		for answer := range many.answers {
			if !yield(answer.number, answer.of) {
				return
			}
		}
		whole = true
	}
}

type numbered[T any] struct {
	number int
	of     T
}

// many is one EvaluateMany.
type many struct {
	problems iter.Seq[Problem]
	pipeline *Pipeline
	given    chan numbered[Problem]
	answers  chan numbered[Answer]
	// Closed when the caller has left the loop.
	left chan struct{}
	// Why no problem can be evaluated any more.
	over atomic.Pointer[Error]
}

// feed takes problems from the caller's sequence.
func (m *many) feed() {
	defer close(m.given)
	number := 0
	for problem := range m.problems {
		select {
		case m.given <- numbered[Problem]{number, problem}:
		case <-m.left:
			return
		}
		number++
	}
}

// work evaluates until there are no more problems.
func (m *many) work(ctx context.Context) {
	defer close(m.answers)
	var workers sync.WaitGroup
	defer workers.Wait()
	started := 0
	tasks := make(chan numbered[Problem])
	defer close(tasks)
	for problem := range m.given {
		select {
		case tasks <- problem: // Somebody is free.
			continue
		default:
		}
		if started < inFlight {
			started++
			workers.Go(func() { m.worker(ctx, tasks) })
		}
		tasks <- problem
	}
}

func (m *many) worker(ctx context.Context, tasks <-chan numbered[Problem]) {
	for task := range tasks {
		answer := numbered[Answer]{number: task.number}
		if over := m.over.Load(); over != nil {
			again := *over
			answer.of.Err = &again
		} else if result, err := m.pipeline.evaluate(ctx, task.of); err != nil {
			if err.endsAll() {
				last := *err
				m.over.Store(&last)
			}
			answer.of.Err = err
		} else {
			answer.of.Result = result
		}
		select {
		case m.answers <- answer:
		case <-m.left:
		}
	}
}

// endsAll tells whether the error of one problem would be that of all that follow.
func (e *Error) endsAll() bool {
	if e.Reason != "" {
		return false
	}
	switch e.Code {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Unimplemented,
		codes.Unauthenticated, codes.PermissionDenied, codes.FailedPrecondition:
		return true
	}
	return false
}
