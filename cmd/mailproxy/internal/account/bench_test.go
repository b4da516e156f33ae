package account

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/smime"
)

// BenchmarkOutgoing is all that becomes of a message of 10 KiB, which is signed and
// encrypted with keys on P-256, but for what is said to clients and servers: the
// recipient is looked up in a store, the message is read, sealed and read again.
func BenchmarkOutgoing(b *testing.B) {
	s := openSet(b, testConfig(b))
	always, require := policy.SignAlways, policy.EncryptRequire
	rules, err := policy.New([]policy.Rule{{Sender: "alice@example.org", Sign: &always, Encrypt: &require}})
	if err != nil {
		b.Fatal(err)
	}
	sealer := &outgoing.Sealer{Rules: rules, Headers: smime.HeadersBaseline, MaxMessage: 50 << 20}
	text := []byte("From: alice@example.org\r\nTo: Bob <bob@example.org>\r\nSubject: a letter\r\nDate: Fri, 27 Nov 2026 10:00:00 +0000\r\n" +
		"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" +
		strings.Repeat("A line of text that is as long as lines of mail are, more or less.\r\n", 150))
	e := &outgoing.Envelope{Account: "alice", Keys: s.Keys("alice"), From: "alice@example.org"}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		to, lookErr := sealer.LookUp(b.Context(), e.Keys, e.From, "bob@example.org")
		if lookErr != nil {
			b.Fatal(lookErr)
		}
		e.To = []outgoing.Recipient{to}
		if err = seal(b, sealer, e, text); err != nil {
			b.Fatal(err)
		}
	}
}

// seal takes a message, and throws away what it becomes.
func seal(b *testing.B, s *outgoing.Sealer, e *outgoing.Envelope, text []byte) error {
	m, err := s.Receive(bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer m.Close()
	plan, err := s.Plan(b.Context(), e, m)
	if err != nil {
		return err
	}
	content, err := plan.Seal(plan.Copies[0])
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(io.Discard, content.NewReader())
	return err
}
