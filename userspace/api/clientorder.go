// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Order asks something of a rollout that goes in stages, or of all of them.
func (c *Client) Order(ctx context.Context, o Order) (*Change, error) {
	switch path := "/v1/rollouts/" + url.PathEscape(o.ID) + "/" + o.Verb; o.Verb {
	case OrderFreeze:
		return post[Change](ctx, c, "/v1/freeze", Reasoned{o.Reason})
	case OrderThaw:
		digest := ""
		if !o.Digest.IsZero() {
			digest = o.Digest.String()
		}
		return post[Change](ctx, c, "/v1/thaw", ThawRequest{Digest: digest, Reason: o.Reason})
	case OrderAccept:
		return post[Change](ctx, c, path, AcceptRequest{NewBlocks: o.Share, Reason: o.Reason})
	default:
		return post[Change](ctx, c, path, Reasoned{o.Reason})
	}
}

// FollowRollout calls f with a rollout, and again each time that something of it is another, until it is over, ctx
// ends, or f returns an error. A stream that ends before, because the agent stops or starts again, is no error: whoever
// wants more asks again.
func (c *Client) FollowRollout(ctx context.Context, id string, f func(*Rollout) error) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/rollouts/"+url.PathEscape(id)+"?follow=true", "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxReply))
	lines.Buffer(nil, maxRollout)
	for lines.Scan() {
		ro := new(Rollout)
		if err := json.Unmarshal(lines.Bytes(), ro); err != nil {
			return fmt.Errorf("read rollout: %w", err)
		}
		if err := f(ro); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read rollout: %w", lostOr(ctx, err))
	}
	return ctx.Err()
}

// maxRollout bounds one rollout with its decisions.
const maxRollout = 4 << 20
