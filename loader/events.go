// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
)

// Events reads decisions from the ring until ctx ends, and hands each to visit. There is one reader at a time; what
// nobody reads is lost and counted.
func (t *CounterTable) Events(ctx context.Context, visit func(bpf.Event)) error {
	reader, err := t.OpenEvents()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = reader.Close() })
	defer stop()
	var record ringbuf.Record
	for {
		if err := reader.ReadInto(&record); err != nil {
			if errors.Is(err, ringbuf.ErrClosed) {
				return ctx.Err()
			}
			return kernel.Explain("read the event ring", errors.Join(err, reader.Close()))
		}
		event, err := DecodeEvent(record.RawSample)
		if err != nil {
			return err
		}
		visit(event)
	}
}

// DecodeEvent reads a record of the ring.
func DecodeEvent(sample []byte) (event bpf.Event, err error) {
	if err := binary.Read(bytes.NewReader(sample), binary.NativeEndian, &event); err != nil {
		return event, fmt.Errorf("read an event of %d bytes: %w", len(sample), err)
	}
	return event, nil
}
