// SPDX-License-Identifier: Apache-2.0

package config

// Rebase returns what the change from one set to another makes of a third: the bundles that it added or replaced, and
// without those that it took out.
func Rebase(from, to, onto *Set) *Set {
	out := NewSet(onto.bundles()...)
	for _, b := range from.bundles() {
		if to.Named(b.Name) == nil {
			out = out.Without(b.Name)
		}
	}
	for _, b := range to.bundles() {
		if was := from.Named(b.Name); was == nil || was.Digest != b.Digest {
			out = out.With(b)
		}
	}
	return out
}

// Touches reports whether the change from one set to another adds, replaces or takes out the bundle of a name.
func Touches(from, to *Set, name string) bool {
	was, is := from.Named(name), to.Named(name)
	if was == nil || is == nil {
		return was != is
	}
	return was.Digest != is.Digest
}
