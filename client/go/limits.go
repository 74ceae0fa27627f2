package lossd

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/lossd/lossd/client/go/lossdpb"
)

const (
	// Data of a stream's message, all operands together, where the caller does not say.
	defaultChunkBytes = 1 << 20
	// More than this goes by stream, where the transport is not chosen.
	unaryBytes = 1 << 20
	// Every server takes messages of this size: its flag goes no lower.
	smallestLimit = 1 << 16
	// Room in a message for all that is not data: tags, lengths, and a header without its weight.
	overhead = 1 << 12
	// Data of this size fits a message of every server. A weight of this size goes in the header.
	alwaysFits = smallestLimit - overhead
	// No server takes a message above this.
	largestLimit = 1 << 30
)

// limitCache remembers how much data fits a message of the server.
type limitCache struct {
	mutex sync.Mutex
	// 0: not asked yet.
	most int
}

// mostData gives how much data fits a message. The server is asked once.
func (c *Client) mostData(ctx context.Context) (int, *Error) {
	c.limits.mutex.Lock()
	most := c.limits.most
	c.limits.mutex.Unlock()
	if most != 0 {
		return most, nil
	}
	info, err := c.serverInfo(ctx)
	if err == nil {
		return mostDataOf(info.GetLimits()), nil
	}
	if err.Code == codes.Unimplemented {
		return alwaysFits, nil // A proxy that lets nothing but evaluations through.
	}
	return 0, err
}

func mostDataOf(limits *lossdpb.Limits) int {
	return int(max(min(limits.GetMaxMessageBytes(), largestLimit), smallestLimit)) - overhead
}

func (c *Client) remember(limits *lossdpb.Limits) {
	c.limits.mutex.Lock()
	defer c.limits.mutex.Unlock()
	c.limits.most = mostDataOf(limits)
}

// forgetLimits makes the next call ask again: a server with other limits may have taken this one's
// place.
func (c *Client) forgetLimits() {
	c.limits.mutex.Lock()
	defer c.limits.mutex.Unlock()
	c.limits.most = 0
}
