// SPDX-License-Identifier: Apache-2.0

package releasetest

// Killed is thrown where a process dies.
type Killed struct{}

// Trouble decides, at each call of the kernel part or the disk, whether it fails or the process dies in it. The zero
// value is none.
type Trouble struct {
	Chance func() bool // it fails
	Kernel bool        // the kernel part refuses now and then
	Disk   bool        // the disk does
	KillIn int         // calls until the process dies; 0: it does not
}

// Touch returns err where bad things happen and this is one of them; it panics with Killed where the process dies.
func (t *Trouble) Touch(bad bool, err error) error {
	if t.KillIn > 0 {
		if t.KillIn--; t.KillIn == 0 {
			panic(Killed{})
		}
	}
	if bad && t.Chance() {
		return err
	}
	return nil
}
