package saslrelay

import (
	"strings"
)

// Strip takes a suffix off the name in a client's response, which is yet to be
// seen. It returns false, and nothing, where the name does not end so, is nothing
// else, or cannot be changed: SCRAM proves it together with the password.
func (l *Name) Strip(mechanism string, response []byte, suffix string) ([]byte, bool) {
	if suffix == "" || l.steps > 0 {
		return nil, false
	}
	text, found := string(response), false
	strip := func(name string) string {
		bare, ok := strings.CutSuffix(name, suffix)
		if !ok || bare == "" {
			return name
		}
		found = true
		return bare
	}
	switch mechanism {
	case "PLAIN":
		parts := strings.Split(text, "\x00")
		if len(parts) != 3 {
			return nil, false
		}
		text = strip(parts[0]) + "\x00" + strip(parts[1]) + "\x00" + parts[2]
	case "LOGIN":
		text = strip(text)
	case "XOAUTH2":
		fields := strings.Split(text, "\x01")
		for i, field := range fields {
			if name, ok := strings.CutPrefix(field, "user="); ok {
				fields[i] = "user=" + strip(name)
			}
		}
		text = strings.Join(fields, "\x01")
	case "OAUTHBEARER":
		// RFC 7628, Section 3.1: n,a=name,
		parts := strings.SplitN(text, ",", 3)
		if name, ok := strings.CutPrefix(parts[len(parts)/2], "a="); ok && len(parts) == 3 {
			escaped := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(suffix)
			if bare, has := strings.CutSuffix(name, escaped); has && bare != "" {
				found = true
				text = parts[0] + ",a=" + bare + "," + parts[2]
			}
		}
	case "CRAM-MD5":
		if i := strings.LastIndexByte(text, ' '); i > 0 {
			text = strip(text[:i]) + text[i:]
		}
	}
	if !found {
		return nil, false
	}
	return []byte(text), true
}
