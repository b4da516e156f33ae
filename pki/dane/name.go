package dane

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrName says that a name under which records are cannot be made: the domain is
// none, or the mail address is malformed.
var ErrName = errors.New("not a domain name or mail address that can be asked for in the DNS")

// TLSAName returns the name of the TLSA records of a service, such as
// "_25._tcp.mx.example.com" (RFC 6698, Section 3). The protocol is "tcp", "udp" or
// "sctp". The host, in A-labels, may have a dot at its end; the result has none
// and is in lower case. The only error is [ErrName].
func TLSAName(host, protocol string, port uint16) (string, error) {
	if protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return "", ErrName
	}
	return underDomain("_"+strconv.Itoa(int(port))+"._"+protocol+".", host)
}

// smimeaLabel is the second label of the names of SMIMEA records.
const smimeaLabel = "._smimecert."

// SMIMEAName returns the name of the SMIMEA records of a mail address: the
// SHA-256 hash of the local part, cut to 28 octets, as hexadecimal digits; then
// "_smimecert" and the domain (RFC 8162, Section 3).
//
// The local part is taken as it is, in UTF-8, and its case is kept: only the
// domain knows which local parts are the same (RFC 8162, Section 4). It should be
// in Unicode Normalization Form C, which is not done here. A quoted local part
// stands for what is in its quotes. Domains are A-labels. The only error is
// [ErrName].
func SMIMEAName(address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "", ErrName
	}
	local, ok := unquote(address[:at])
	if !ok {
		return "", ErrName
	}
	sum := sha256.Sum256([]byte(local))
	return underDomain(hex.EncodeToString(sum[:28])+smimeaLabel, address[at+1:])
}

// unquote returns the local part of RFC 8162, Section 3 for one that may be a
// quoted string: its quotes and backslashes are removed. White space and comments
// cannot be there any more.
func unquote(local string) (string, bool) {
	if local == "" || !utf8.ValidString(local) || strings.ContainsFunc(local, isControl) {
		return "", false
	}
	if local[0] != '"' {
		return local, !strings.ContainsAny(local, `"\ ()`)
	}
	if len(local) < 2 || local[len(local)-1] != '"' {
		return "", false
	}
	var out strings.Builder
	inner := local[1 : len(local)-1]
	for i := 0; i < len(inner); i++ {
		switch inner[i] {
		case '"':
			return "", false
		case '\\':
			if i++; i == len(inner) {
				return "", false
			}
		}
		out.WriteByte(inner[i])
	}
	return out.String(), out.Len() > 0
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

// underDomain puts a prefix before a domain.
func underDomain(prefix, domain string) (string, error) {
	if domain == "" || domain == "." || domain[0] == '.' {
		return "", ErrName
	}
	return CleanName(prefix + domain)
}

// CleanName returns a domain name of A-labels in the form of [Answer.Name]: in
// lower case and without a dot at the end. What is not letters, digits, hyphens
// and underscores in labels of 1 to 63 octets, 253 in all, is an [ErrName]; so is
// the root.
func CleanName(name string) (string, error) {
	name = canonical(name)
	if len(name) > 253 {
		return "", ErrName
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
		}) {
			return "", ErrName
		}
	}
	return name, nil
}

// canonical returns a domain name in lower case and without a dot at the end;
// the root is ".".
func canonical(name string) string {
	b := []byte(name)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	if len(b) > 1 && b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	return string(b)
}
