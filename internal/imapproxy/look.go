package imapproxy

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/postseal/postseal/internal/mimeraw"
)

// lookedAt are the fields that tell whether a message may be S/MIME, or has
// fields that claim to be ours.
const lookedAt = "CONTENT-TYPE CONTENT-DISPOSITION AUTHENTICATION-RESULTS X-POSTSEAL-STATUS X-POSTSEAL-SIGNER X-POSTSEAL-ENCRYPTION X-POSTSEAL-PROBLEM X-POSTSEAL-WARNING"

// maxLooked bounds what is read of such a header, in octets.
const maxLooked = 64 << 10

// look finds out by their headers which messages are not S/MIME, and remembers
// it. The others have to be opened.
func (s *session) look(f *fetch, targets []*target) error {
	byUID := make(map[uint32]*target)
	for _, t := range targets {
		byUID[t.uid] = t
	}
	var problem error
	take := func(r *response) bool {
		one := parseFetched(r)
		if one == nil {
			return false
		}
		t := byUID[one.uid]
		for i := range one.values {
			v := &one.values[i]
			if t == nil || !strings.HasPrefix(v.name, "BODY[HEADER.FIELDS") {
				continue
			}
			header, err := v.bytes(maxLooked)
			if err != nil {
				problem = err
			}
			switch size := one.get("RFC822.SIZE"); {
			case err != nil:
			case !mayBeProtected(header):
				t.fact = plainFact
			case size != nil && s.tooBig(size.text):
				s.p.log().Warn("a message is too big to be opened", "account", s.account, "uid", t.uid)
				t.big = true
				if !claims(header) {
					t.fact = plainFact
				}
			}
			if size := one.get("RFC822.SIZE"); size != nil {
				t.size, _ = strconv.ParseInt(size.text, 10, 64) // 0 counts as nothing
			}
			if flags := one.get("FLAGS"); flags != nil {
				s.tellFlags(one.seq, flags.text)
			}
			one.free()
			return true
		}
		return false
	}
	_, err := s.run(f.verb()+" "+f.list(targets)+" (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS ("+lookedAt+")])", take)
	if err = errors.Join(err, problem); err != nil {
		return err
	}
	var plain []*target
	for _, t := range targets {
		if t.fact != nil && !t.big { // the limit may be another one tomorrow
			plain = append(plain, t)
		}
	}
	return s.remember(plain)
}

// tooBig reports whether a message has more octets than what is opened may have. It
// is shown as it is stored, unless it has fields that claim to be ours.
func (s *session) tooBig(size string) bool {
	n, err := strconv.ParseInt(size, 10, 64)
	return err != nil || n > s.mostHeld()
}

// claims reports whether a header has fields that claim to be ours.
func claims(raw []byte) bool {
	h, err := mimeraw.ReadHeader(bufio.NewReader(bytes.NewReader(raw)), maxLooked)
	return err != nil || len(raw) >= maxLooked || slices.ContainsFunc(h.Fields, claim)
}

func claim(f mimeraw.Field) bool {
	name := upper(f.Name())
	return strings.HasPrefix(name, "X-POSTSEAL-") || name == "AUTHENTICATION-RESULTS" && strings.Contains(strings.ToLower(f.Value()), "smime")
}

// mayBeProtected reports whether a header may be that of an S/MIME message, or
// has fields that claim to be ours. RFC 8551, Section 3.10: names of files tell,
// too.
func mayBeProtected(raw []byte) bool {
	if len(raw) >= maxLooked {
		return true // there may be more
	}
	h, err := mimeraw.ReadHeader(bufio.NewReader(bytes.NewReader(raw)), maxLooked)
	if err != nil {
		return true
	}
	if slices.ContainsFunc(h.Fields, claim) {
		return true
	}
	contentType, _ := h.Get("Content-Type")
	disposition, _ := h.Get("Content-Disposition")
	text := strings.ToLower(contentType + " " + disposition)
	for _, sign := range []string{"pkcs7", "multipart/signed", ".p7m", ".p7s", ".p7c", ".p7z"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}
