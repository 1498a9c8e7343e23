// SPDX-License-Identifier: Apache-2.0

// Package silent closes the sockets of blocked connections whose client says nothing more: nothing else would free them
// before the server's own timeouts.
package silent
