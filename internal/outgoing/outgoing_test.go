package outgoing_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/smime"
)

func receive(t testing.TB, text string) *outgoing.Message {
	t.Helper()
	s := &outgoing.Sealer{Tags: policy.Tags{Encrypt: "[encrypt]", Field: "X-Postseal"}}
	m, err := s.Receive(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// TestReceive: what comes out is what came in, in lines that end in CRLF.
func TestReceive(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"A: b\r\n\r\nc\r\n":          "A: b\r\n\r\nc\r\n",
		"A: b\n\nc":                  "A: b\r\n\r\nc\r\n",
		"A: b\r\rc\r":                "A: b\r\n\r\nc\r\n",
		"A: b\r\r\nc\n\r":            "A: b\r\n\r\nc\r\n\r\n",
		"no header":                  "no header\r\n",
		"A: b\r\n c\r\n\r\n\x00\xff": "A: b\r\n c\r\n\r\n\x00\xff\r\n",
		"A: b\r\n\r\n" + strings.Repeat("x", 100000): "A: b\r\n\r\n" + strings.Repeat("x", 100000) + "\r\n",
		// Tags go, and nothing else.
		"A:  b\r\nSubject:  [ENCRYPT]  c\r\nX-postseal: sign\r\nD:e\r\n\r\n[encrypt]\r\n": "A:  b\r\nSubject: c\r\nD:e\r\n\r\n[encrypt]\r\n",
	} {
		m := receive(t, text)
		got, err := io.ReadAll(m.Reader())
		if err != nil || string(got) != want || m.EightBit != strings.Contains(text, "\xff") {
			t.Errorf("%.40q: %.60q, %v", text, got, err)
		}
	}
	small := &outgoing.Sealer{MaxMessage: 10}
	if _, err := small.Receive(strings.NewReader("A: b\r\n\r\nlong\r\n")); !errors.Is(err, outgoing.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	failed := errors.New("gone")
	if _, err := small.Receive(io.MultiReader(strings.NewReader("A"), failing{failed})); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAnswers(t *testing.T) {
	m := receive(t, "In-Reply-To: <a@x> (of yesterday)\r\nReferences: <b@x>\r\n\t<a@x><c@x> <> d@x <e\r\n\r\n")
	if got := m.Answers(); !slices.Equal(got, []string{"a@x", "b@x", "c@x"}) {
		t.Errorf("%q", got)
	}
	if got := receive(t, "References: "+strings.Repeat("<a@x>", 1000)+"\r\n\r\n").Answers(); len(got) != 1 {
		t.Errorf("%q", got)
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, " <%d@x>\r\n", i)
	}
	if got := receive(t, "References:"+many.String()+"\r\n").Answers(); len(got) != 200 {
		t.Errorf("%d", len(got))
	}
}

// TestTextBeforeHeader refuses to encrypt what would stay readable in front.
func TestTextBeforeHeader(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	s := &outgoing.Sealer{Rules: mailtest.Everything(t)}
	to, err := s.LookUp(t.Context(), w, "alice@example.org", "bob@example.org")
	if err != nil {
		t.Fatal(err)
	}
	e := &outgoing.Envelope{Keys: w, From: "alice@example.org", To: []outgoing.Recipient{to}}
	for text, want := range map[string]error{
		" my secret\r\nFrom: alice@example.org\r\n\r\nx\r\n":     outgoing.ErrHeader,
		"my secret is: 1234\r\nTo: bob@example.org\r\n\r\nx\r\n": outgoing.ErrHeader,
		"my secret\r\nTo: bob@example.org\r\n\r\nx\r\n":          nil, // this is a body
		"From: alice@example.org\r\n\r\n my secret\r\n":          nil,
	} {
		plan, planErr := s.Plan(t.Context(), e, receive(t, text))
		if !errors.Is(planErr, want) {
			t.Errorf("%q: %v", text, planErr)
		}
		if planErr != nil {
			continue
		}
		content, sealErr := plan.Seal(plan.Copies[0])
		if sealErr != nil {
			t.Fatal(sealErr)
		}
		data, _ := io.ReadAll(content.NewReader())
		content.Close()
		if m, openErr := w.Open(t, string(data), "bob@example.org"); strings.Contains(string(data), "secret") || m == nil || !m.Encrypted {
			t.Errorf("%q: %v\n%s", text, openErr, data)
		}
	}
}

// TestHeaders protects the header where that is asked for.
func TestHeaders(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	for headers, hidden := range map[smime.HeaderPolicy]bool{smime.HeadersUnprotected: false, smime.HeadersVisible: false, smime.HeadersBaseline: true} {
		s := &outgoing.Sealer{Rules: mailtest.Everything(t), Headers: headers}
		for address, encrypted := range map[string]bool{"bob@example.org": true, "dave@elsewhere.test": false} {
			to, err := s.LookUp(t.Context(), w, "alice@example.org", address)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := s.Plan(t.Context(), &outgoing.Envelope{Keys: w, From: "alice@example.org", To: []outgoing.Recipient{to}},
				receive(t, "From: alice@example.org\r\nTo: "+address+"\r\nSubject: Lunch\r\n\r\nat noon\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			content, err := plan.Seal(plan.Copies[0])
			if err != nil {
				t.Fatal(err)
			}
			data, _ := io.ReadAll(content.NewReader())
			content.Close()
			if strings.Contains(string(data), "Subject: Lunch") == (hidden && encrypted) {
				t.Errorf("%v, %s:\n%s", headers, address, data)
			}
		}
	}
}

// TestExplain has every error.
func TestExplain(t *testing.T) {
	refusal := &policy.Refusal{Recipient: "b\xfcb@x", Reason: policy.NoCertificate}
	for _, tc := range []struct {
		err      error
		code     int
		enhanced string
		lines    int
		text     string
	}{
		{&outgoing.UnavailableError{What: "Not now", Err: keystore.ErrPassphraseNeeded}, 451, "4.7.5", 1, "Not now"},
		{&outgoing.UnavailableError{What: "Not now", Err: outgoing.ErrClock}, 451, "4.7.5", 1, "Not now"},
		{fmt.Errorf("%w", refusal), 550, "5.7.5", 1, "b?b@x"},
		{&outgoing.RefusedError{Refusals: []*policy.Refusal{refusal, refusal}}, 550, "5.7.5", 2, "encryption is required"},
		{&outgoing.RefusedError{Refusals: slices.Repeat([]*policy.Refusal{refusal}, 100)}, 550, "5.7.5", 21, "encryption is required"},
		{&policy.ConflictError{One: "a@x", Other: "b@x"}, 550, "5.7.5", 1, "a@x and b@x"},
		{&policy.ConflictError{One: "a@x"}, 550, "5.7.5", 1, "a@x"},
		{&outgoing.WishError{Field: "X-Postseal", Err: &policy.ValueError{Value: "x\r\n250 y", Known: []string{"sign"}}}, 554, "5.6.0", 1, "X-Postseal"},
		{outgoing.ErrTooLarge, 552, "5.3.4", 1, "too large"},
		{outgoing.ErrHeader, 554, "5.6.0", 1, "no header field"},
		{outgoing.ErrClearReply, 550, "5.7.5", 1, "came encrypted"},
		{mimeraw.ErrHeaderTooLong, 554, "5.6.0", 1, "header"},
		{io.ErrUnexpectedEOF, 451, "4.3.0", 1, "whole"},
		{errors.New("open /secret/path: no space left"), 451, "4.3.0", 1, "whole"},
	} {
		a := outgoing.Explain(tc.err)
		if a.Code != tc.code || a.Enhanced != tc.enhanced || len(a.Lines) != tc.lines || !strings.Contains(a.Lines[0], tc.text) {
			t.Errorf("%v: %+v", tc.err, a)
		}
		for _, line := range a.Lines {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) || len(line) > 400 {
				t.Errorf("%v: %q", tc.err, line)
			}
		}
	}
}
