// SPDX-License-Identifier: Apache-2.0

package agent

// learnResident reads the names of the bundles that the kernel has.
func (a *agent) learnResident() {
	d, done, err := a.plane.Use()
	if err != nil {
		return
	}
	defer done()
	if all, err := d.Generations(); err == nil {
		a.ledger.LearnResident(all)
	}
}
