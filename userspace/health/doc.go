// SPDX-License-Identifier: Apache-2.0

// Package health asks a Prometheus server whether the origin is well, for a rollout that waits for it. It runs beside
// the agent's loop, which only reads the newest answer.
//
//	every health.every ──▶ all queries at once, a few seconds ──▶ one answer, kept with its moment
//	                           │ no server, hang, no JSON, too long, redirect elsewhere: no data
//	                           │ nothing, NaN, a moment that is not now: no data
//
// One answer beyond its limit is harm, whatever the others say. Without harm, one query without data is no data: it is
// neither health nor harm. What was asked too long ago is no data either, so an asker that hangs promotes nothing.
package health
