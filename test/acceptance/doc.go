// SPDX-License-Identifier: Apache-2.0

// Command acceptance answers, for each class of outage that took others down, what stands against it here, which tests
// show that, and whether those tests go red when the guard is switched off.
//
// The table is in rows*.go: a row has a guard, the tests that prove it, and faults, each an edit that takes the guard
// out. `make acceptance` runs all tests, plants all faults, writes results.json and docs/ACCEPTANCE.md. `make test`
// holds that the page says what the table and the results say, that each test exists, that each fault still fits the
// code, and plants a few.
package main
