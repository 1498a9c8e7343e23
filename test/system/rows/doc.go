// SPDX-License-Identifier: Apache-2.0

// Package rows shows rows of docs/ACCEPTANCE.md as a host meets them: the agent as its unit, visitors and bots, and a
// change that should never have been sent. All rows share one edge. Each ends with what holds for all of them: nobody
// noticed, who is protected was served, the agent gave a reason that a program can read, and what was in force is.
package rows
