package imapproxy

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/render"
)

// TestFactMarshal reads back what was written, and nothing that was cut or changed.
func TestFactMarshal(t *testing.T) {
	f := &fact{opened: true, status: "signed/verified", verdict: []byte("X-Postseal-Status: y\r\n"), size: 12345}
	f.digest[3] = 7
	f.views[0], f.views[2] = []byte("ENVELOPE NIL"), []byte("BODYSTRUCTURE NIL")
	data, err := f.marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := unmarshalFact(data); !ok || !reflect.DeepEqual(got, f) {
		t.Errorf("%+v %v", got, ok)
	}
	for n := range data {
		if _, ok := unmarshalFact(data[:n]); ok {
			t.Errorf("%d octets are a fact", n)
		}
	}
	if _, ok := unmarshalFact(append(data, 0)); ok {
		t.Error("an octet too many is a part of a fact")
	}
}

// TestSealed binds what is sealed to its message and its account.
func TestSealed(t *testing.T) {
	secret := []byte("0123456789abcdef")
	alice, err := newSealer(secret, "alice")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := newSealer(secret, "bob")
	if err != nil {
		t.Fatal(err)
	}
	box := facts.Mailbox{Server: "s", Account: "alice", Name: "INBOX", Validity: 1}
	sealed := alice.Seal(nil, nil, []byte("x"), about(box, 1))
	other := box
	other.Name = "Sent"
	if _, err = alice.Open(nil, nil, sealed, about(box, 1)); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string][]byte{"another UID": about(box, 2), "another mailbox": about(other, 1)} {
		if _, err = alice.Open(nil, nil, sealed, wrong); err == nil {
			t.Errorf("it is taken for that of %s", name)
		}
	}
	if _, err = bob.Open(nil, nil, sealed, about(box, 1)); err == nil {
		t.Error("another account can read it")
	}
}

// TestRestart has sizes, structures and octets stay the same for a proxy that is
// started anew with the same database, though trust and keys have changed; the
// database does not show what was encrypted.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecot(t)
	direct := login(t, upstream, "")
	for _, m := range []string{w.encrypt(t, noteMessage, w.alice), w.sign(t, mixedMessage, false), noteMessage, w.encrypt(t, w.sign(t, mixedMessage, true), w.alice),
		w.encrypt(t, noteMessage, w.carol), "X-Postseal-Status: forged\r\n" + noteMessage} {
		direct.add("INBOX", m)
	}
	path := filepath.Join(t.TempDir(), "facts")
	options := w.options()
	run := func(f func(c *client)) {
		db, err := facts.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		p := &Proxy{Open: func(string) (*render.Options, error) { return options, nil }, Facts: db, Server: "dovecot",
			Secret: func(string) ([]byte, error) { return []byte("the secret of alice, which is on no disk"), nil }}
		t.Run("", func(t *testing.T) { f(login(t, serve(t, p, upstream), "INBOX")) })
		if err = db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	const items = "FETCH 1:* (UID RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)"
	var before, bodies []string
	run(func(c *client) {
		before = sorted(c.ok(items))
		for i := range 6 {
			bodies = append(bodies, literalOf(t, c.one(fmt.Sprintf("FETCH %d BODY.PEEK[]", i+1))))
		}
	})
	raw, err := filepath.Glob(path + "*")
	if err != nil || len(raw) == 0 {
		t.Fatal(err)
	}
	for _, name := range raw {
		data := readFile(t, name)
		for _, secret := range []string{"Lunch", "noon", "X-Postseal", "bob@example.org", "encrypted+signed"} {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%q is in %s", secret, filepath.Base(name))
			}
		}
	}
	// Trust has ended, and a key has come.
	later := *options
	later.Read.Identities = append(later.Read.Identities, cms.NewIdentity(w.carol.Cert, w.carol.Key))
	later.Read.Trust = cms.TrustRoots()
	options = &later
	run(func(c *client) {
		if after := sorted(c.ok(items)); !reflect.DeepEqual(after, before) {
			t.Errorf("the same messages:\n%s\n---\n%s", before, after)
		}
		for i := range bodies {
			if got := literalOf(t, c.one(fmt.Sprintf("FETCH %d BODY.PEEK[]", i+1))); got != bodies[i] {
				t.Errorf("message %d has changed:\n%s\n---\n%s", i+1, bodies[i], got)
			}
		}
		// They stay what they were, too, when messages were opened anew.
		if after := sorted(c.ok(items)); !reflect.DeepEqual(after, before) {
			t.Errorf("the same messages, after they were read:\n%s\n---\n%s", before, after)
		}
	})
	for i, body := range bodies {
		if !strings.Contains(strings.Join(before, ""), fmt.Sprintf("RFC822.SIZE %d ", len(body))) {
			t.Errorf("message %d has %d octets, which nobody said", i+1, len(body))
		}
	}
	// Another process, without the secret: nothing is known, and it finds out anew.
	db, err := facts.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Open: func(string) (*render.Options, error) { return w.options(), nil }, Facts: db, Server: "dovecot"}
	t.Run("no secret", func(t *testing.T) {
		if after := sorted(login(t, serve(t, p, upstream), "INBOX").ok(items)); !reflect.DeepEqual(after, before) {
			t.Errorf("the same messages:\n%s\n---\n%s", before, after)
		}
	})
	if came, cameErr := db.CameEncrypted(t.Context(), "alice", []string{"1@example.org"}); !came || cameErr != nil {
		t.Errorf("came encrypted: %v %v", came, cameErr)
	}
	if err = db.Close(); err != nil {
		t.Fatal(err)
	}
}
