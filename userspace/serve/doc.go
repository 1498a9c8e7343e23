// SPDX-License-Identifier: Apache-2.0

// Package serve is where the agent answers: the sockets of the API, one a role, and the address of the metrics. What
// cannot be made is a problem, and tried again; a socket whose file somebody removed is made again.
package serve
