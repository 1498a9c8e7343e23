// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/spillway/spillway/config"
)

// What a person asks of a rollout that goes in stages, and of all of them.
const (
	OrderPause   = "pause"
	OrderResume  = "resume"  // of a pause, or of a rollout that is held
	OrderAbort   = "abort"   // nothing is condemned
	OrderPromote = "promote" // the stage is over although its evidence is inconclusive
	OrderAccept  = "accept"  // so many new blocks are meant
	OrderConfirm = "confirm" // keep it
	OrderFreeze  = "freeze"  // nothing starts by itself
	OrderThaw    = "thaw"    // ends a freeze; with a digest, also that quarantine
)

// ordersOfOne are those about one rollout.
var ordersOfOne = []string{OrderPause, OrderResume, OrderAbort, OrderPromote, OrderAccept, OrderConfirm}

// Order is one of them.
type Order struct {
	Verb   string
	ID     string        // of the rollout; "" for freeze and thaw
	Share  float64       // of accept: above 0, at most 1
	Digest config.Digest // of thaw: this quarantine ends too
	Reason string        // all but confirm have one
}

// AcceptRequest is the body of POST /v1/rollouts/{id}/accept.
type AcceptRequest struct {
	// NewBlocks is the share of the votes that may be newly blocked, by any rule: above 0, at most 1.
	NewBlocks float64 `json:"newBlocks"`
	Reason    string  `json:"reason"`
}

// ThawRequest is the body of POST /v1/thaw.
type ThawRequest struct {
	// Digest names a bundle whose quarantine ends too.
	Digest string `json:"digest,omitempty"`
	Reason string `json:"reason"`
}

// ErrDirect says that this host has no stages.
var ErrDirect = &Error{Code: CodeDirect,
	Message: "this host puts bundles into force directly (guards.rollout: direct): no rollout has stages",
	Fix:     "set guards.rollout: staged in the host file and reload it, or leave the option out"}

// stagesBackend carries out what a person asks of rollouts that go in stages.
type stagesBackend interface {
	// Staged reports whether this host rolls out in stages now. Where it does not, nothing else is asked.
	Staged() bool
	// Order answers once the engine has taken it, with the sentence of its decision as the message.
	Order(ctx context.Context, by Caller, o Order) (*Change, error)
}

// staged reports whether somebody is there who knows stages.
func (s *Server) staged() bool { return s.backend.Stages != nil && s.backend.Stages.Staged() }

// order hands an order on, where the host has stages and the order its reason.
func (s *Server) order(ctx context.Context, by Caller, o Order) (*Change, error) {
	switch {
	case !s.staged():
		return nil, ErrDirect
	case o.Reason == "" && o.Verb != OrderConfirm:
		return nil, &Error{Code: CodeInvalid, Message: o.Verb + " needs a reason: the history keeps it",
			Fix: "add reason, with why"}
	}
	return s.backend.Stages.Order(ctx, by, o)
}

// orders are the routes of all orders.
func (s *Server) orders() (all []route) {
	add := func(pattern, verb string, f changer) {
		all = append(all, route{pattern: pattern, needs: RoleOperate, verb: verb, handle: s.change(verb, f)})
	}
	for _, verb := range ordersOfOne {
		f := byName("id", func(ctx context.Context, by Caller, id, reason string) (*Change, error) {
			return s.order(ctx, by, Order{Verb: verb, ID: id, Reason: reason})
		})
		switch verb {
		case OrderAccept:
			f = s.accept
		case OrderConfirm:
			f = byName("id", s.confirm)
		}
		add("POST /v1/rollouts/{id}/"+verb, verb, f)
	}
	add("POST /v1/freeze", OrderFreeze, reasoned(func(ctx context.Context, by Caller, reason string) (*Change, error) {
		return s.order(ctx, by, Order{Verb: OrderFreeze, Reason: reason})
	}))
	add("POST /v1/thaw", OrderThaw, maybe(func(ctx context.Context, by Caller, q ThawRequest) (*Change, error) {
		o := Order{Verb: OrderThaw, Reason: q.Reason}
		if q.Digest != "" {
			if err := o.Digest.UnmarshalText([]byte(q.Digest)); err != nil {
				return nil, &Error{Code: CodeInvalid, Message: "digest: " + err.Error(),
					Fix: "use sha256: and its 64 digits, as `spillway rollout status -o json` has them"}
			}
		}
		return s.order(ctx, by, o)
	}))
	return all
}

func (s *Server) accept(ctx context.Context, by Caller, r *http.Request) (any, error) {
	return body(strict, func(ctx context.Context, by Caller, q AcceptRequest) (*Change, error) {
		id := r.PathValue("id")
		if err := CheckText("id", id); err != nil {
			return nil, err
		}
		if s.staged() && !(q.NewBlocks > 0 && q.NewBlocks <= 1) {
			return nil, &Error{Code: CodeInvalid, Message: fmt.Sprintf("newBlocks %v is no share above 0 and at most 1",
				q.NewBlocks), Fix: "use for example 0.02 for 2 %"}
		}
		return s.order(ctx, by, Order{Verb: OrderAccept, ID: id, Share: q.NewBlocks, Reason: q.Reason})
	})(ctx, by, r)
}

// confirm keeps a candidate, whoever decides about it here.
func (s *Server) confirm(ctx context.Context, by Caller, id, reason string) (*Change, error) {
	if s.staged() {
		return s.order(ctx, by, Order{Verb: OrderConfirm, ID: id, Reason: reason})
	}
	return s.backend.Release.ConfirmRollout(ctx, by, id, reason)
}

// end withdraws a rollout, whoever decides about it here.
func (s *Server) end(ctx context.Context, by Caller, id, reason string) (*Change, error) {
	if !s.staged() {
		return s.backend.Release.EndRollout(ctx, by, id, reason)
	}
	if reason == "" {
		reason = "cancelled" // a withdrawal without stages asks for no reason, and neither does its command
	}
	return s.order(ctx, by, Order{Verb: OrderAbort, ID: id, Reason: reason})
}

// stagesOnly refuses the options of stages where there are none, and those that cannot be.
func (s *Server) stagesOnly(q *RolloutRequest) error {
	switch {
	case !slices.Contains([]string{"", StageShadow}, q.Stage):
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("stage %q is none at which a rollout stops", Visible(q.Stage)),
			Fix: "the only one is shadow"}
	case !(q.AcceptBlocks >= 0 && q.AcceptBlocks <= 1):
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("acceptBlocks %v is no share from 0 to 1", q.AcceptBlocks),
			Fix: "use for example 0.02 for 2 %"}
	case (q.Emergency || q.AcceptBlocks > 0) && q.Reason == "":
		return &Error{Code: CodeInvalid, Message: "to accept blocks, or an emergency, needs a reason: the history keeps it",
			Fix: "add reason, with why"}
	case q.Emergency && q.Stage != "":
		return &Error{Code: CodeInvalid, Message: "an emergency does not stop in shadow", Fix: "send one of them"}
	case (q.Stage != "" || q.AcceptBlocks != 0 || q.Replace || q.Emergency) && !s.staged():
		return ErrDirect
	}
	return nil
}
