package mtasts

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postseal/postseal/pki/dane"
)

// A Mode says what a policy asks of senders (RFC 8461, Section 5).
type Mode string

// The modes.
const (
	// Enforce: mail must not be delivered to a server that fails the policy.
	Enforce Mode = "enforce"
	// Testing: mail is delivered, and failures are told to the domain.
	Testing Mode = "testing"
	// None: the domain has no policy, or wants to have none any more.
	None Mode = "none"
)

// Limits of policies.
const (
	// MaxSize is how long a policy may be, in octets (RFC 8461, Section 3.3).
	MaxSize = 64 << 10
	// MaxPatterns is how many patterns of hosts it may have.
	MaxPatterns = 128
	// MaxMaxAge is the longest time for which it holds (RFC 8461, Section 3.2);
	// what is longer is cut.
	MaxMaxAge = 31557600 * time.Second
)

// A Policy is what a domain asks of those who send mail to it.
type Policy struct {
	Mode   Mode
	MaxAge time.Duration
	// MX are patterns of hosts, in lower case: a name of A-labels, or one with
	// "*." before it. There is one at least, but in mode None.
	MX []string
}

// A PolicyError says why a text is no policy.
type PolicyError struct {
	Field   string // "version", "mode", "max_age", "mx", or "" for all of it
	Problem string
}

// Error returns a sentence.
func (e *PolicyError) Error() string {
	if e.Field == "" {
		return "the MTA-STS policy " + e.Problem
	}
	return fmt.Sprintf("the field %q of the MTA-STS policy %s", e.Field, e.Problem)
}

// ParsePolicy reads a policy (RFC 8461, Section 3.2). The error is a
// *PolicyError.
func ParsePolicy(text []byte) (*Policy, error) {
	switch {
	case len(text) > MaxSize:
		return nil, &PolicyError{"", fmt.Sprintf("is longer than %d octets", MaxSize)}
	case !utf8.Valid(text):
		return nil, &PolicyError{"", "is not UTF-8"}
	}
	p := &Policy{}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		line = strings.Trim(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), " \t")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !fieldName(name) || strings.ContainsFunc(value, control) {
			return nil, &PolicyError{"", "has a line that is not a field"}
		}
		if name != "mx" && seen[name] {
			continue // Section 3.2: of fields that come twice, the first one counts
		}
		seen[name] = true
		if err := p.field(name, strings.Trim(value, " \t")); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"version", "mode", "max_age"} {
		if !seen[name] {
			return nil, &PolicyError{name, "is missing"}
		}
	}
	if len(p.MX) == 0 && p.Mode != None {
		return nil, &PolicyError{"mx", "is missing"}
	}
	return p, nil
}

func control(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }

func (p *Policy) field(name, value string) error {
	switch name {
	case "version":
		if value != "STSv1" {
			return &PolicyError{name, "is not STSv1"}
		}
	case "mode":
		switch p.Mode = Mode(value); p.Mode {
		case Enforce, Testing, None:
		default:
			return &PolicyError{name, "is not enforce, testing or none"}
		}
	case "max_age":
		seconds, err := strconv.ParseUint(value, 10, 64)
		if err != nil || len(value) > 10 {
			return &PolicyError{name, "is not a number of seconds"}
		}
		p.MaxAge = time.Duration(min(seconds, uint64(MaxMaxAge/time.Second))) * time.Second
	case "mx":
		pattern, err := dane.CleanName(strings.TrimPrefix(value, "*."))
		if err != nil {
			return &PolicyError{name, "is not a domain name"}
		}
		if strings.HasPrefix(value, "*.") {
			pattern = "*." + pattern
		}
		if len(p.MX) >= MaxPatterns {
			return &PolicyError{name, fmt.Sprintf("comes more than %d times", MaxPatterns)}
		}
		p.MX = append(p.MX, pattern)
	}
	return nil
}

// Matches reports whether the policy names a host, as it stands in the MX record,
// in any case and with or without a dot at the end (RFC 8461, Section 4.1). A
// wildcard stands for one label.
func (p *Policy) Matches(host string) bool {
	host, err := dane.CleanName(host)
	if err != nil {
		return false
	}
	_, parent, _ := strings.Cut(host, ".")
	for _, pattern := range p.MX {
		if suffix, wild := strings.CutPrefix(pattern, "*."); wild && suffix == parent || !wild && pattern == host {
			return true
		}
	}
	return false
}

// String returns the policy as it is published, with CRLF.
func (p *Policy) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: STSv1\r\nmode: %s\r\nmax_age: %d\r\n", p.Mode, p.MaxAge/time.Second)
	for _, mx := range p.MX {
		fmt.Fprintf(&b, "mx: %s\r\n", mx)
	}
	return b.String()
}
