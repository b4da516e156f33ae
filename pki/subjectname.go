package pki

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A nameForm tells the forms of GeneralName apart (RFC 5280, Section 4.2.1.6).
// An otherName has its type-id behind it.
type nameForm string

const (
	formOther nameForm = "otherName"
	formEmail nameForm = "rfc822Name"
	formDNS   nameForm = "dNSName"
	formDN    nameForm = "directoryName"
	formURI   nameForm = "uniformResourceIdentifier"
	formIP    nameForm = "iPAddress"
)

// A subjectName is a GeneralName as name constraints see it: of a certificate, or
// a constraint itself.
type subjectName struct {
	form nameForm
	text string   // formEmail, formDNS, formURI
	rdns []string // formDN: folded
	ip   []byte   // formIP
	raw  []byte   // formDN: the Name
}

// size is a measure for the work of comparing n.
func (n *subjectName) size() int {
	size := len(n.text)
	for _, rdn := range n.rdns {
		size += len(rdn)
	}
	return size
}

// readSubjectName reads one GeneralName.
func readSubjectName(s *cryptobyte.String) (n subjectName, ok bool) {
	var content cryptobyte.String
	var tag asn1.Tag
	if !s.ReadAnyASN1(&content, &tag) {
		return n, false
	}
	switch tag {
	case der.Context(0, true):
		var id oid.OID
		if !der.ReadOID(&content, &id) {
			return n, false
		}
		n.form = formOther + " " + nameForm(id)
		if id == oid.SmtpUTF8Mailbox {
			// RFC 9598, Section 3: SmtpUTF8Mailbox ::= UTF8String
			var value, text cryptobyte.String
			if !content.ReadASN1(&value, der.Context(0, true)) || !value.ReadASN1(&text, asn1.UTF8String) || !utf8.Valid(text) {
				return n, false
			}
			n.text = string(text)
		}
	case der.Context(1, false):
		n.form, n.text = formEmail, string(content)
	case der.Context(2, false):
		n.form, n.text = formDNS, string(content)
	case der.Context(4, true):
		n.form, n.raw = formDN, content
		n.rdns, ok = foldRDNs(content)
		return n, ok
	case der.Context(6, false):
		n.form, n.text = formURI, string(content)
	case der.Context(7, false):
		n.form, n.ip = formIP, content
	default:
		n.form = nameForm("form " + strconv.Itoa(int(tag)))
	}
	return n, utf8.ValidString(n.text)
}

// certNames are the names of a certificate to which constraints apply.
type certNames struct {
	all []subjectName
	bad bool // the subject or the subjectAltName could not be read completely
}

// namesOf collects the names of c.
//
// RFC 5280, Section 6.1.3 (b): the subject and the subjectAltName. RFC 5280,
// Section 4.2.1.10: also emailAddress in the subject, here whatever the
// subjectAltName has, as it is read as an address of c in any case. RFC 9598,
// Section 6: SmtpUTF8Mailbox is constrained as rfc822Name is.
func namesOf(c *Certificate) *certNames {
	out := new(certNames)
	rdns, ok := readName(c.RawSubject)
	out.bad = !ok
	if len(rdns) > 0 {
		folded, _ := foldRDNs(c.RawSubject)
		out.all = append(out.all, subjectName{form: formDN, rdns: folded, raw: c.RawSubject})
	}
	for _, rdn := range rdns {
		for i := range rdn {
			if rdn[i].typ != oid.DNEmailAddress {
				continue
			}
			text, isText := rdn[i].text()
			out.bad = out.bad || !isText
			out.all = append(out.all, subjectName{form: formEmail, text: text})
		}
	}
	for _, ext := range c.Extensions {
		if ext.OID != oid.ExtSubjectAltName {
			continue
		}
		v := cryptobyte.String(ext.Value)
		var seq cryptobyte.String
		out.bad = out.bad || !v.ReadASN1(&seq, asn1.SEQUENCE) || !v.Empty()
		for !seq.Empty() {
			n, isName := readSubjectName(&seq)
			if !isName {
				out.bad = true
				break
			}
			if n.form == formOther+" "+nameForm(oid.SmtpUTF8Mailbox) {
				n.form = formEmail
			}
			out.all = append(out.all, n)
		}
	}
	return out
}

// String shows a name to people.
func (n *subjectName) String() string {
	switch n.form {
	case formDN:
		return `"` + NameText(n.raw) + `"`
	case formIP:
		if a, ok := netip.AddrFromSlice(n.ip); ok {
			return a.String()
		}
		return "an IP address of an unknown kind"
	case formEmail, formDNS, formURI:
		return strconv.Quote(n.text)
	}
	return "a name of the form " + string(n.form)
}

// asciiDomain writes a domain in lower case and with A-labels, as far as that
// goes: Unicode normalisation is not done.
//
// RFC 9598, Section 5: U-labels are converted before domains are compared.
func asciiDomain(domain string) string {
	labels := strings.Split(lowerASCII(domain), ".")
	for i, label := range labels {
		if isASCII(label) {
			continue
		}
		if encoded, ok := punycode([]rune(strings.Map(unicode.ToLower, label))); ok {
			labels[i] = "xn--" + encoded
		}
	}
	return strings.Join(labels, ".")
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// maxLabel bounds a label that is converted, in characters: the encoding of a
// longer one is no label of the DNS.
const maxLabel = 63

// punycode encodes a label (RFC 3492, Section 6.3).
func punycode(label []rune) (string, bool) {
	const base, initialN, initialBias = 36, 128, 72
	if len(label) > maxLabel {
		return "", false
	}
	var out []byte
	for _, r := range label {
		if r < initialN {
			out = append(out, byte(r))
		}
	}
	basic := len(out)
	if basic > 0 {
		out = append(out, '-')
	}
	n, delta, bias := rune(initialN), 0, initialBias
	for done := basic; done < len(label); n++ {
		next := rune(unicode.MaxRune)
		for _, r := range label {
			if r >= n {
				next = min(next, r)
			}
		}
		delta += int(next-n) * (done + 1)
		n = next
		for _, r := range label {
			if r < n {
				delta++
			}
			if r != n {
				continue
			}
			out = appendPuny(out, delta, bias)
			bias = adaptPuny(delta, done+1, done == basic)
			delta = 0
			done++
		}
		delta++
	}
	return string(out), true
}

// appendPuny writes a generalised variable-length integer (RFC 3492, Section 3.3).
func appendPuny(out []byte, q, bias int) []byte {
	const digits = "abcdefghijklmnopqrstuvwxyz0123456789"
	for k := 36; ; k += 36 {
		t := min(max(k-bias, 1), 26)
		if q < t {
			return append(out, digits[q])
		}
		out = append(out, digits[t+(q-t)%(36-t)])
		q = (q - t) / (36 - t)
	}
}

// adaptPuny is the bias adaptation of RFC 3492, Section 6.1.
func adaptPuny(delta, points int, first bool) int {
	if first {
		delta /= 700
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for ; delta > 455; k += 36 {
		delta /= 35
	}
	return k + 36*delta/(delta+38)
}

// hasPrefix reports whether the RDNs of a name begin with those of prefix.
func hasPrefix(name, prefix []string) bool {
	return len(name) >= len(prefix) && slices.Equal(name[:len(prefix)], prefix)
}
