// SPDX-License-Identifier: Apache-2.0

// Package migrate reads the dataplanes of earlier layouts, frozen as their last commits left them, and copies from one
// into maps of this build what no file on disk knows. Only an upgrade needs it: whoever drops a layout drops its file.
package migrate
