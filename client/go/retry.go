package lossd

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	attempts    = 4
	firstPause  = 50 * time.Millisecond
	pauseGrowth = 3
	// A server that asks for more is left to the caller's judgement.
	longestPause = 30 * time.Second
)

// retry makes a call until it ends with anything but an error that another attempt may cure:
// UNAVAILABLE, or an error with RetryInfo. No call of lossd has an effect, so all may be repeated.
//
// It makes four attempts at most. Between them it waits for 50, 150 and 450 ms, or for as long as the
// server asks, a fifth more or less, so that clients that lost one server do not all come back at
// once. It does not wait beyond the context's deadline.
func retry[T any](ctx context.Context, attempt func() (T, *Error)) (T, *Error) {
	pause := firstPause
	for made := 1; ; made++ {
		result, err := attempt()
		if err == nil || made == attempts || !err.curable() {
			return result, err
		}
		wait := time.Duration(float64(max(pause, err.RetryAfter)) * (0.8 + 0.4*rand.Float64()))
		// Never before the time that the server named.
		wait = max(wait, err.RetryAfter)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return result, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return result, &Error{
				Code:    status.FromContextError(ctx.Err()).Code(),
				Message: "the call was given up before another attempt; the last one: " + err.Message,
				cause:   err,
			}
		case <-timer.C:
		}
		pause *= pauseGrowth
	}
}

// curable tells whether another attempt may succeed.
func (e *Error) curable() bool {
	return (e.retryInfo || e.Code == codes.Unavailable) && e.RetryAfter <= longestPause
}
