// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/view"
	"github.com/spillway/spillway/userspace/view/viewtest"
)

// readKernel is a kernel in the state of a reading. What a command changes changes the reading.
type readKernel struct {
	r    *view.Reading
	bans []loader.Ban
}

func (k *readKernel) Control() loader.Control { return k.r.Control }
func (k *readKernel) Generations() ([]loader.GenerationInfo, error) {
	return k.r.Generations, k.r.Unread[view.PartGenerations]
}
func (k *readKernel) Host() (*compile.HostInfo, error) { return k.r.Host, k.r.Unread[view.PartHost] }
func (k *readKernel) Attachments() ([]loader.Attachment, error) {
	return k.r.Links, k.r.Unread[view.PartLinks]
}
func (k *readKernel) RootID() (uint32, error)                { return k.r.Root, k.r.Unread[view.PartRoot] }
func (k *readKernel) Bypass() loader.Deadline                { return k.r.Bypass }
func (k *readKernel) ServiceBypass(id uint8) loader.Deadline { return k.r.Services[id] }
func (k *readKernel) Heartbeat() time.Duration               { return k.r.Heartbeat }
func (k *readKernel) Lease() loader.Deadline                 { return k.r.Lease }
func (k *readKernel) Tripped() loader.Trips                  { return k.r.Tripped }
func (k *readKernel) VerifyWiring() ([]compile.Drift, error) {
	return k.r.Wiring, k.r.Unread[view.PartWiring]
}
func (k *readKernel) Bans() ([]loader.Ban, error)                  { return k.bans, nil }
func (k *readKernel) EventLosses() (uint64, error)                 { return 0, nil }
func (k *readKernel) LimitLosses() (l loader.LimitLosses, _ error) { return l, nil }
func (k *readKernel) MapUse() ([]loader.MapUse, error)             { return nil, nil }
func (k *readKernel) SetBypass(d loader.Deadline)                  { k.r.Bypass = d }
func (k *readKernel) SetServiceBypass(id uint8, d loader.Deadline) { k.r.Services[id] = d }
func (k *readKernel) SetLease(d loader.Deadline)                   { k.r.Lease = d }
func (k *readKernel) SetTripped(n uint32)                          { k.r.Tripped.Ended = n }
func (k *readKernel) Conntrack() error                             { return k.r.Untracked }
func (k *readKernel) Unanswered() (map[int]bool, error)            { return k.r.Unanswered, nil }
func (k *readKernel) Close() error                                 { return nil }

// Counters are those of what was counted.
func (k *readKernel) Counters() (all []loader.Counter, err error) {
	frames := k.r.Counted.Frames
	all = append(all, loader.Counter{Reason: bpf.ReasonMalformed, Packets: frames.Malformed},
		loader.Counter{Reason: bpf.ReasonNotService, Packets: frames.All - frames.Malformed})
	for id, n := range k.r.Counted.First {
		all = append(all, loader.Counter{Service: id, Reason: bpf.ReasonUnconfirmed, Packets: n.Unvouched},
			loader.Counter{Service: id, Reason: bpf.ReasonNoMatch, Packets: n.Vouched, Connections: n.Vouched})
	}
	slices.SortFunc(all, func(a, b loader.Counter) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Reason, b.Reason))
	})
	return all, nil
}

func (k *readKernel) Unban(p netip.Prefix) (bool, error) {
	for i, b := range k.bans {
		if b.Prefix == p {
			k.bans = append(k.bans[:i:i], k.bans[i+1:]...)
			return true, nil
		}
	}
	return false, nil
}

func (k *readKernel) swap(next loader.Control, err error) (loader.Control, error) {
	if err == nil {
		k.r.Control = next
	}
	return k.r.Control, err
}

func (k *readKernel) Publish(c loader.Change) (loader.Control, error) {
	return k.swap(k.r.Control.Publish(c))
}
func (k *readKernel) Withdraw() (loader.Control, error) { return k.swap(k.r.Control.Withdraw()) }
func (k *readKernel) DropGenerations() (loader.Control, error) {
	return k.swap(k.r.Control.DropGenerations())
}

// DeviceByName is what netlink says in the reading.
func (k *readKernel) DeviceByName(name string) (loader.Device, error) {
	for _, i := range k.r.Interfaces {
		if i.Name == name {
			return i.Device, i.Err
		}
	}
	return loader.Device{}, loader.ErrNoDevice
}

func (k *readKernel) DeviceByIndex(index int) (loader.Device, error) {
	for _, i := range k.r.Interfaces {
		if i.Err == nil && i.Device.Index == index {
			return i.Device, nil
		}
	}
	return loader.Device{}, loader.ErrNoDevice
}

// sentences are the commands whose words depend on the state. Each runs in a state of its own.
var sentences = [][]string{
	{"status"}, {"bypass", "on"}, {"bypass", "on", "--for", "30m"}, {"bypass", "off"},
	{"bypass", "on", "--service", "shop"}, {"bypass", "off", "--service", "shop"},
	{"rollback"}, {"rollback", "--to", "observe"}, {"rollback", "--to", "empty"},
	{"unban", "203.0.113.7"}, {"unban", "198.51.100.9"}, {"bans"}, {"verify"},
}

// TestF17TrueWords runs each command in each state of a host, without an agent. What is printed is golden, and what may
// be said is derived from what the kernel does then.
func TestF17TrueWords(t *testing.T) {
	var all strings.Builder
	for _, m := range viewtest.Modes {
		fmt.Fprintf(&all, "======== %s\n", m.Name)
		for _, args := range sentences {
			s, k := readShell(t, m)
			before := view.Judge(s.reading(k))
			code := s.run(args...)
			text := firstOf(s.stdout) + s.stderr
			fmt.Fprintf(&all, "$ spillway %s  [%d]\n%s", strings.Join(args, " "), code, text)
			after := view.Judge(s.reading(k))
			for _, wrong := range untrue(m, strings.Join(args, " "), text, before, after) {
				t.Errorf("%s: spillway %s: %s\n%s", m.Name, strings.Join(args, " "), wrong, text)
			}
			now := m // as it was changed
			now.Bans = after.Idle == ""
			if wrong := viewtest.FragmentWords(k.r, now, strings.Join(strings.Fields(text), " ")); wrong != "" &&
				args[0] != "rollback" {
				t.Errorf("%s: spillway %s: %s", m.Name, strings.Join(args, " "), wrong)
			}
			now.Bans = now.Bans && len(after.Unknown) == 0
			if wrong := viewtest.CanaryWords(k.r, now, strings.Join(strings.Fields(menu.ReplaceAllString(text, "")),
				" ")); wrong != "" {
				t.Errorf("%s: spillway %s: %s", m.Name, strings.Join(args, " "), wrong)
			}
		}
	}
	golden(t, "truth", all.String())
}

// failingRoot is a kernel whose pinned root program cannot be read after so many times.
type failingRoot struct {
	*readKernel
	reads int
}

func (k *failingRoot) RootID() (uint32, error) {
	if k.reads--; k.reads < 0 {
		return 0, loader.ErrPermission
	}
	return k.r.Root, nil
}

// A bypass that is known to reach the card is done, whatever cannot be read afterwards; of one of which it is not known
// the command says so, and ends with 4.
func TestBypassIsKnownToReachTheCard(t *testing.T) {
	for reads, want := range []struct {
		code int
		says string
	}{{4, "whether it is that one is not known"}, {0, "bypass is on: everything passes, until"}} {
		s, k := readShell(t, viewtest.Modes[0])
		s.env.pins = func(p offline.Places, now func() time.Time) (*offline.Session, error) {
			return offline.New(p, &failingRoot{k, reads}, k, now), nil
		}
		code := s.run("bypass", "on")
		text := strings.Join(strings.Fields(s.stdout+s.stderr), " ")
		if code != want.code || !strings.Contains(text, want.says) ||
			!strings.Contains(text, "the pinned root program cannot be read: ") || !k.r.Bypass.Active() {
			t.Errorf("read %d times: exit %d, bypass %t: %s", reads, code, k.r.Bypass.Active(), text)
		}
	}
}

// readShell is a shell on a host in this state, on which no agent answers.
func readShell(t *testing.T, m viewtest.Mode) (*shell, *readKernel) {
	t.Helper()
	s := newShell(t)
	text, err := os.ReadFile(s.hostFile)
	if err != nil {
		t.Fatal(err)
	}
	s.write("host.yaml", strings.Replace(string(text), "[{name: lo}]", "[{name: eth0}, {name: eth1}]", 1))
	r := viewtest.Serving()
	m.Change(r)
	if r.Agent == view.Answers { // the state is read by the command itself, soon after the agent ended
		r.Heartbeat = max(r.Heartbeat, time.Minute)
	}
	k := &readKernel{r, []loader.Ban{{Prefix: netip.MustParsePrefix("203.0.113.7/32"), Expires: now.Add(time.Hour)},
		{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Expires: now.Add(time.Hour)}}}
	s.env.cards = func() (*offline.Cards, error) { return unreadCards(r) }
	s.env.pins = func(p offline.Places, now func() time.Time) (*offline.Session, error) {
		p.Agent, p.AgentPID = view.Absent, 0
		if r.Agent != view.Answers {
			p.Agent, p.AgentPID = r.Agent, r.AgentPID
		}
		return offline.New(p, k, k, now), nil
	}
	return s, k
}

// unreadCards are the cards for whoever is not root.
func unreadCards(r *view.Reading) (*offline.Cards, error) {
	c := &offline.Cards{Failed: map[uint32]error{}}
	for _, i := range r.Interfaces {
		if i.Err != nil && !errors.Is(i.Err, loader.ErrNoDevice) {
			return nil, i.Err
		}
		for _, p := range i.Device.Programs {
			c.Failed[p.ID] = loader.ErrPermission
		}
		if len(i.Device.Programs) > 0 {
			c.Devices = append(c.Devices, i.Device)
		}
	}
	return c, nil
}

func (s *shell) reading(k *readKernel) view.Reading { return view.Read(k, k, []string{"eth0", "eth1"}) }

// firstOf is the part of a screen that says what is; tables of counters follow behind a blank line.
func firstOf(screen string) string {
	first, _, cut := strings.Cut(screen, "\n\n")
	if cut {
		first += "\n"
	}
	return first
}

var (
	inForce = regexp.MustCompile(`generation \d+ is in force`)
	menu    = regexp.MustCompile(`(?m)^  spillway .*$`)
)

// untrue lists what a text says and the state does not.
func untrue(m viewtest.Mode, command, text string, before, after view.Verdict) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	text = menu.ReplaceAllString(text, "")         // what another command would do
	text = strings.Join(strings.Fields(text), " ") // screens wrap
	known := after.State != "unknown" && len(after.Unknown) == 0
	blocks := after.Idle == "" && known
	for _, say := range strings.Split(text, "everything passes")[1:] {
		restricted := strings.HasPrefix(say, " there") || strings.HasPrefix(say, " on eth") ||
			strings.HasPrefix(say, " after")
		if !restricted && (blocks || !known) && !strings.Contains(text, "; in ") &&
			!strings.Contains(text, "where the pins reach") {
			bad("everything passes, and %q", after.Says)
		}
	}
	if strings.Contains(text, "Protected:") && !strings.Contains(text, "NOT Protected") && after.State != "protected" {
		bad("protected in state %s", after.State)
	}
	if inForce.MatchString(text) {
		if after.BundleIdle != "" || !known {
			bad("in force, and nobody is blocked: %s", after.BundleIdle)
		}
	}
	if strings.Contains(text, "only bans block") && after.Idle != "" {
		bad("bans do not block: %s", after.Idle)
	}
	if strings.Contains(text, "is judged again") && !strings.Contains(text, "; nothing is blocked") &&
		!strings.Contains(text, "; only bans block") && after.BundleIdle != "" {
		bad("judged again, and not that nothing comes of it: %s", after.BundleIdle)
	}
	if strings.Contains(text, "no agent runs") && m.Name == "a hung agent" {
		bad("an agent hangs")
	}
	if command == "unban 198.51.100.9" && !strings.Contains(text, "198.51.100.0/24") {
		bad("the ban that holds it is not named")
	}
	for _, never := range []string{"xdp off", "is not banned"} {
		if strings.Contains(text, never) {
			bad("%q is said nowhere", never)
		}
	}
	if strings.HasPrefix(command, "bypass on") && strings.Contains(text, "systemctl start") {
		bad("whoever panics is advised to start it")
	}
	return wrong
}

// A host file that somebody names and that is not there is an error: the defaults would be another Spillway's.
func TestF17NamedHostFileIsMissing(t *testing.T) {
	s := newShell(t)
	for _, args := range [][]string{{"status"}, {"bypass", "on"}, {"detach", "--yes"}, {"config", "check", s.hostFile},
		{"doctor"}, {"reload"}} {
		s.want(exitError, append([]string{"--config", s.dir + "/none.yaml"}, args...)...)
		s.wantErr("there is no host file DIR/none.yaml, which --config names; nothing was done")
	}
	s.vars[configEnv] = s.dir + "/none.yaml"
	s.want(exitError, "status")
	s.wantErr("which $SPILLWAY_CONFIG names")
	s.want(exitOK, "version")
}

// F3: a pin that is missing says nothing. What is attached to the card counts, and what cannot be read is unknown.
func TestF3MissingPinsAreNoPass(t *testing.T) {
	on := func(id uint32) []loader.Device {
		return []loader.Device{{Name: "eth0", Index: 2, Programs: []loader.DeviceProgram{{ID: id, Mode: "native"}}}}
	}
	denied := fmt.Errorf("open program 9 by its id: %w: missing CAP_SYS_ADMIN", loader.ErrPermission)
	for _, c := range []struct {
		name  string
		cards func() (*offline.Cards, error)
		// What each command says, and its exit code.
		want map[string]string
		code map[string]int
	}{
		{"nothing is attached", func() (*offline.Cards, error) { return &offline.Cards{}, nil },
			map[string]string{"status": "nothing of Spillway runs here, so everything passes",
				"bypass on": "no program is attached to an interface"},
			map[string]int{"status": exitNoAgent, "bypass on": exitNoAgent, "rollback": exitNoAgent,
				"detach --yes": exitNoAgent}},
		{"another user", func() (*offline.Cards, error) {
			return &offline.Cards{Devices: on(9), Failed: map[uint32]error{9: denied}}, nil
		}, map[string]string{"status": "UNKNOWN: another program (id 9) is attached to eth0, and it cannot be read from here",
			"bypass on": "run as root: sudo spillway status", "rollback": "UNKNOWN", "detach --yes": "nothing was detached"},
			map[string]int{"status": exitDegraded, "bypass on": exitError, "rollback": exitNoAgent,
				"detach --yes": exitNoAgent}},
		{"root, and it is Spillway's", func() (*offline.Cards, error) {
			return &offline.Cards{Devices: on(9), Roots: map[uint32]offline.Root{9: &cardRoot{}}}, nil
		},
			map[string]string{"status": "its bypass is off, so it may block",
				"bypass on": "bypass is on: everything passes on eth0, until", "detach --yes": "nothing was detached"},
			map[string]int{"status": exitDegraded, "bypass on": exitOK, "detach --yes": exitNoAgent}},
		{"root, and it is another's", func() (*offline.Cards, error) {
			return &offline.Cards{Devices: on(9), Failed: map[uint32]error{9: &loader.NotOurs{ID: 9, Name: "xdp_filter"}}}, nil
		},
			map[string]string{"status": `program "xdp_filter", id 9, is not Spillway's`,
				"bypass on": "what is attached is another's"},
			map[string]int{"status": exitNoAgent, "bypass on": exitNoAgent}},
		{"netlink does not answer", func() (*offline.Cards, error) { return nil, errors.New("netlink: no buffer space") },
			map[string]string{"status": "is not known: netlink: no buffer space", "bypass on": "is not known: netlink"},
			map[string]int{"status": exitNoAgent, "bypass on": exitNoAgent}},
	} {
		for command, code := range c.code {
			t.Run(c.name+"/"+command, func(t *testing.T) {
				s := newShell(t)
				s.env.cards = c.cards
				s.want(code, strings.Fields(command)...)
				text := strings.Join(strings.Fields(s.stdout+s.stderr), " ")
				if !strings.Contains(text, c.want[command]) {
					t.Errorf("it lacks %q:\n%s", c.want[command], text)
				}
				if strings.Contains(text, "everything passes") && c.name != "nothing is attached" &&
					!strings.Contains(text, "everything passes on eth0") ||
					strings.Contains(text, "detached from") || strings.Contains(text, "xdp off") {
					t.Errorf("that was not read:\n%s", text)
				}
				if command == "bypass on" && strings.Contains(text, "systemctl start") {
					t.Errorf("whoever panics is advised to start it:\n%s", text)
				}
			})
		}
	}
}

type cardRoot struct{ until loader.Deadline }

func (c *cardRoot) Bypass() loader.Deadline     { return c.until }
func (c *cardRoot) SetBypass(d loader.Deadline) { c.until = d }
func (c *cardRoot) Heartbeat() time.Duration    { return time.Second }
func (c *cardRoot) Close() error                { return nil }
