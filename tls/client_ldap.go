package tls

import (
	"bytes"
	"fmt"
)

// startTLSOID is the name of the extended operation (RFC 4511, Section 4.14.1).
const startTLSOID = "1.3.6.1.4.1.1466.20037"

// maxLDAP bounds the reply to it, which has no more than a text of diagnosis
// and, if it is misled, referrals.
const maxLDAP = 16 << 10

// Tags of LDAP (RFC 4511, Section 4.2 and Appendix B).
const (
	tagInteger          = 0x02
	tagOctetString      = 0x04
	tagEnumerated       = 0x0a
	tagSequence         = 0x30
	tagExtendedRequest  = 0x77 // [APPLICATION 23]
	tagExtendedResponse = 0x78 // [APPLICATION 24]
	tagRequestName      = 0x80
	tagReferral         = 0xa3
	tagResponseName     = 0x8a
)

// Result codes (RFC 4511, Appendix A).
const (
	ldapSuccess       = 0
	ldapProtocolError = 2
)

// ldap is the StartTLS operation, with 1 as its message ID (RFC 4511, Section
// 4.14; RFC 4513, Section 3.1.1). There is nothing to be asked before.
func (c *client) ldap(w *wire) error {
	name := append([]byte{tagRequestName, byte(len(startTLSOID))}, startTLSOID...)
	request := append([]byte{tagExtendedRequest, byte(len(name))}, name...)
	message := append([]byte{tagInteger, 1, 1}, request...)
	message = append([]byte{tagSequence, byte(len(message))}, message...)
	if err := w.send(stepStartTLS, string(message)); err != nil {
		return err
	}
	body, err := w.ldapMessage()
	if err != nil {
		return err
	}
	reply, err := parseLDAP(body)
	switch {
	case err != nil:
		return w.fail(err, body)
	case reply.id == 0:
		// RFC 4511, Section 4.4.1: a notice of disconnection, or another notice,
		// which is not to be waited out here.
		return w.fail(ErrRefused, reply.diagnosis)
	case reply.id != 1:
		return w.fail(ErrSyntax, reply.diagnosis)
	case reply.code == ldapSuccess && reply.referred:
		return w.fail(ErrSyntax, reply.diagnosis) // RFC 4511, Section 4.1.10
	case reply.code == ldapSuccess:
		return nil
	case reply.code == ldapProtocolError:
		// RFC 4511, Section 4.14.2: the server does not support TLS.
		return &NotOfferedError{Protocol: c.Protocol}
	}
	// Among the others is a referral, which nobody vouches for and nobody follows.
	return w.fail(fmt.Errorf("%w: result code %d", errDeclined, reply.code), reply.diagnosis)
}

// ldapMessage reads the body of one LDAPMessage.
func (w *wire) ldapMessage() ([]byte, error) {
	var head [6]byte
	n := 2
	for i := 0; i < n; i++ {
		b, err := w.ReadByte()
		if err != nil {
			return nil, w.fail(err, nil)
		}
		head[i] = b
		if i == 1 && b > 0x80 && b <= 0x84 {
			n += int(b & 0x7f)
		}
	}
	rest := berInput(head[:n])
	if head[0] != tagSequence {
		return nil, w.fail(ErrSyntax, head[:n])
	}
	rest = rest[1:]
	size, ok := rest.length()
	if !ok {
		return nil, w.fail(ErrSyntax, head[:n])
	}
	if size > maxLDAP {
		return nil, w.fail(ErrTooLong, nil)
	}
	var body []byte // grows with what comes, not with what is announced
	for range size {
		b, err := w.ReadByte()
		if err != nil {
			return nil, w.fail(err, nil)
		}
		body = append(body, b)
	}
	return body, nil
}

// An ldapReply is what matters of an extended response.
type ldapReply struct {
	id, code  int64
	diagnosis []byte
	referred  bool
}

// parseLDAP parses the body of an LDAPMessage with an ExtendedResponse.
func parseLDAP(body []byte) (r ldapReply, err error) {
	in := berInput(body)
	id, ok := in.value(tagInteger)
	response, ok2 := in.value(tagExtendedResponse)
	// Controls may follow (RFC 4511, Section 4.1.1); they are not looked at.
	if !ok || !ok2 {
		return r, ErrSyntax
	}
	var oks [4]bool
	r.id, oks[0] = berInteger(id)
	code, found := response.value(tagEnumerated)
	r.code, oks[1] = berInteger(code)
	_, oks[2] = response.value(tagOctetString) // matchedDN
	text, foundText := response.value(tagOctetString)
	oks[3] = found && foundText
	r.diagnosis = text
	for _, good := range oks {
		if !good {
			return r, ErrSyntax
		}
	}
	_, r.referred = response.value(tagReferral)
	if name, named := response.value(tagResponseName); named && r.id != 0 && !bytes.Equal(name, []byte(startTLSOID)) {
		return r, ErrSyntax // RFC 4511, Section 4.14.2
	}
	return r, nil
}

// A berInput is a string of BER as LDAP restricts it (RFC 4511, Section 5.1).
type berInput []byte

// value consumes an element with a tag and returns its contents.
func (in *berInput) value(tag byte) (contents berInput, ok bool) {
	if len(*in) < 2 || (*in)[0] != tag {
		return nil, false
	}
	rest := (*in)[1:]
	size, ok := rest.length()
	if !ok || size > int64(len(rest)) {
		return nil, false
	}
	contents, *in = rest[:size], rest[size:]
	return contents, true
}

// length consumes a definite length of at most four octets; it need not be the
// shortest form.
func (in *berInput) length() (int64, bool) {
	if len(*in) == 0 {
		return 0, false
	}
	first := (*in)[0]
	*in = (*in)[1:]
	if first < 0x80 {
		return int64(first), true
	}
	n := int(first & 0x7f)
	if n == 0 || n > 4 || n > len(*in) {
		return 0, false
	}
	var size int64
	for _, b := range (*in)[:n] {
		size = size<<8 | int64(b)
	}
	*in = (*in)[n:]
	return size, true
}

// berInteger reads an integer that is not negative and has at most 32 bits.
func berInteger(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 5 || b[0] >= 0x80 {
		return 0, false
	}
	for _, c := range b {
		n = n<<8 | int64(c)
	}
	return n, n < 1<<31
}
