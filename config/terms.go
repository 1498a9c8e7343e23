// SPDX-License-Identifier: Apache-2.0

package config

// Terms are what a service can have of a policy, as far as the host file says so beside its cap. Policy.At keeps to
// them; whoever compiles a policy again needs those of then.
type Terms struct {
	Kind    Kind     `json:"kind"`
	Local   bool     `json:"local,omitempty"`
	Confirm Confirm  `json:"confirm,omitempty"`
	Beside  []string `json:"beside,omitempty"` // names of the services of its protocol that share an address with it
}

// Terms returns those of a service among all of its host.
func (s Service) Terms(all []Service) Terms {
	t := Terms{Kind: s.Kind, Local: s.Local, Confirm: s.Confirm}
	for _, other := range all {
		if other.Name != s.Name && other.Protocol() == s.Protocol() && overlap(s, other) {
			t.Beside = append(t.Beside, other.Name)
		}
	}
	return t
}

// Full returns a policy as a service of these terms has it without a cap.
func (t Terms) Full(p Policy) Policy {
	return p.At(Service{Kind: t.Kind, Local: t.Local, Confirm: t.Confirm})
}
