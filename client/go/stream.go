package lossd

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/lossd/lossd/client/go/lossdpb"
)

type evaluateStream = grpc.BidiStreamingClient[lossdpb.EvaluateStreamRequest, lossdpb.EvaluateStreamResponse]

func (c *Client) byStream(ctx context.Context, p *problem, settings callSettings) (*Result, *Error) {
	chunk := settings.chunk
	if min(chunk, p.bytes()) > alwaysFits {
		most, err := c.mostData(ctx)
		if err != nil {
			return nil, err
		}
		chunk = min(chunk, most)
	}
	attempt := func() (*Result, *Error) { return c.streamOnce(ctx, p, chunk, settings) }
	if p.streamed() || settings.written() {
		return attempt()
	}
	return retry(ctx, attempt)
}

// streamOnce makes one EvaluateStream. A goroutine sends, since to send waits for the server, and the
// server waits for its replies to be read.
func (c *Client) streamOnce(ctx context.Context, p *problem, chunk int, settings callSettings) (*Result, *Error) {
	streamContext, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.stub.EvaluateStream(streamContext, callOptions...)
	if err != nil {
		return nil, c.asError(ctx, err)
	}
	meter := newMeter(p, settings.progress)
	defer meter.stop()
	// Why there is no more to send: an error of a Source, or nil.
	sent := make(chan *Error, 1)
	go func() {
		err := send(stream, messages(p, chunk), meter)
		sent <- err
		if err != nil {
			cancel()
		}
	}()
	result, failed := c.receive(ctx, stream, &streamOutputs{problem: p, writers: settings.writers}, meter)
	cancel()
	if p.streamed() && failed != nil {
		// A Read of the caller's may take for ever: it is not waited for.
		select {
		case err := <-sent:
			if err != nil {
				return nil, err
			}
		default:
		}
		return nil, failed
	}
	<-sent
	return result, failed
}

// send sends all messages and half-closes. An error of the stream is left to the receiver, which
// gets its status.
func send(stream evaluateStream, messages func(func(*lossdpb.EvaluateStreamRequest, *Error) bool),
	meter *meter) *Error {
	for message, err := range messages {
		if err != nil {
			return err
		}
		if stream.Send(message) != nil {
			return nil
		}
		meter.sent(len(message.Weight) + len(message.Target) + len(message.GradOutput) + len(message.Input))
	}
	_ = stream.CloseSend() // Its error would be the receiver's too.
	return nil
}

func (c *Client) receive(ctx context.Context, stream evaluateStream, outputs *streamOutputs,
	meter *meter) (*Result, *Error) {
	for {
		reply, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return outputs.result()
		}
		if err != nil {
			return nil, c.asError(ctx, err)
		}
		received, failed := outputs.take(reply)
		if failed != nil {
			return nil, failed
		}
		meter.received(received)
	}
}

// meter counts the bytes of a stream and tells the caller.
type meter struct {
	mutex sync.Mutex
	// Nil where nobody wants to know, and when the call is over.
	report func(Progress)
	now    Progress
}

func newMeter(p *problem, report func(Progress)) *meter {
	meter := &meter{report: report}
	meter.now.ToSend = int64(p.bytes())
	if p.weightInHeader() {
		meter.now.Sent = int64(p.weight.size)
	}
	for _, wanted := range p.wanted {
		if wanted != nil {
			meter.now.ToReceive += int64(wanted.bytes())
		}
	}
	return meter
}

func (m *meter) sent(bytes int)     { m.add(bytes, &m.now.Sent) }
func (m *meter) received(bytes int) { m.add(bytes, &m.now.Received) }

func (m *meter) add(bytes int, to *int64) {
	if bytes == 0 {
		return
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	*to += int64(bytes)
	if m.report != nil {
		m.report(m.now)
	}
}

func (m *meter) stop() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.report = nil
}
