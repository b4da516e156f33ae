package recipients

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// source is a Finder that has what it has.
type source struct {
	found []keystore.Found
	err   error
}

func (source) Source() string { return "test" }
func (s source) Find(context.Context, string) ([]keystore.Found, error) {
	return s.found, s.err
}

var errDown = errors.New("down")

func TestFind(t *testing.T) {
	known, err := testpki.NewCA("Known")
	if err != nil {
		t.Fatal(err)
	}
	between, err := known.Intermediate("Between")
	if err != nil {
		t.Fatal(err)
	}
	other, err := testpki.NewCA("Other")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(ca *testpki.CA, name string) keystore.Found {
		p, issueErr := ca.Issue(testpki.Profile{Name: name, Email: "a@example.org", Key: testpki.P256})
		if issueErr != nil {
			t.Fatal(issueErr)
		}
		return keystore.Found{Certificate: pki.FromX509(p.Cert), Source: "test"}
	}
	expired := issue(known, "expired")
	expired.Err = &keystore.UnusableError{Reason: keystore.UnusableExpired}
	stranger, trusted := issue(other, "stranger"), issue(other, "trusted by hand")
	trusted.Vouched = true
	withChain, withoutChain := issue(between, "with chain"), issue(between, "without chain")
	withChain.Chain = []*pki.Certificate{pki.FromX509(between.Cert)}
	judge := &Judge{Trust: cms.TrustPool(pki.NewRoots([]*pki.Certificate{pki.FromX509(known.Cert)}))}

	for _, tc := range []struct {
		name  string
		found []keystore.Found
		err   error
		want  string // the name of the one that is chosen
	}{
		{"nobody", nil, nil, ""},
		{"a path", []keystore.Found{issue(known, "good")}, nil, "good"},
		{"the first that is good", []keystore.Found{expired, stranger, withChain, trusted}, nil, "with chain"},
		{"by hand", []keystore.Found{stranger, trusted}, nil, "trusted by hand"},
		{"the chain is missing", []keystore.Found{withoutChain}, nil, ""},
		{"one source is down", []keystore.Found{withChain}, errDown, "with chain"},
	} {
		found, findErr := judge.Find(t.Context(), source{tc.found, tc.err}, "a@example.org")
		if !errors.Is(findErr, tc.err) || len(found) != len(tc.found) {
			t.Errorf("%s: %d candidates, %v", tc.name, len(found), findErr)
		}
		got := ""
		if c := Choose(found); c != nil {
			got = c.Certificate.CommonName()
		}
		if got != tc.want {
			t.Errorf("%s: %q is chosen, want %q", tc.name, got, tc.want)
		}
	}

	found, _ := judge.Find(t.Context(), source{found: []keystore.Found{expired, stranger}}, "a@example.org")
	var ue *UntrustedError
	if err = None("a@example.org", found); !errors.As(err, &ue) || ue.Found.Certificate.CommonName() != "stranger" || !errors.As(err, new(*pki.ChainError)) {
		t.Errorf("%v", err)
	}
	var ne *NoneError
	if err = None("a@example.org", found[:1]); !errors.As(err, &ne) || len(ne.Found) != 1 {
		t.Errorf("%v", err)
	}
	// Judged at another time.
	judge.Time = time.Now().Add(100 * 365 * 24 * time.Hour)
	if found, _ = judge.Find(t.Context(), source{found: []keystore.Found{withChain}}, "a@example.org"); found[0].Err == nil {
		t.Error("a certificate that has expired by then is used")
	}
}

func TestCommonCipher(t *testing.T) {
	gcm := []cms.Cipher{cms.AES256GCM, cms.AES128GCM, cms.AES128CBC}
	old := []cms.Cipher{cms.AES128CBC, cms.AES256CBC}
	for _, tc := range []struct {
		said [][]cms.Cipher
		want cms.Cipher
		err  error
	}{
		{nil, "", nil},
		{[][]cms.Cipher{nil, nil}, "", nil},
		{[][]cms.Cipher{gcm, nil}, "", nil},
		{[][]cms.Cipher{{cms.AES128GCM}, gcm}, cms.AES128GCM, nil},
		{[][]cms.Cipher{old, nil}, cms.AES256CBC, nil},
		{[][]cms.Cipher{old, gcm}, cms.AES128CBC, nil},
		{[][]cms.Cipher{{cms.AES256CBC}, gcm}, "", ErrNoCommonCipher},
		{[][]cms.Cipher{{}}, "", ErrNoCommonCipher},
	} {
		if got, err := CommonCipher(tc.said); got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%v: %q, %v", tc.said, got, err)
		}
	}
}

// TestTooMany has a source that gives many certificates, and another beside it.
func TestTooMany(t *testing.T) {
	other, err := testpki.NewCA("Other")
	if err != nil {
		t.Fatal(err)
	}
	p, err := other.Issue(testpki.Profile{Email: "a@example.org", Key: testpki.P256})
	if err != nil {
		t.Fatal(err)
	}
	one := keystore.Found{Certificate: pki.FromX509(p.Cert), Source: "many"}
	found := slices.Repeat([]keystore.Found{one}, 100)
	good, asked := one, 0
	good.Source = "good"
	judge := &Judge{Trust: cms.TrustFunc(func(*cms.TrustRequest) error {
		if asked++; asked > maxJudged {
			return nil
		}
		return errDown
	})}
	candidates, err := judge.Find(t.Context(), source{append(found, good), nil}, "a@example.org")
	if err != nil || asked != maxJudged+1 || !errors.Is(candidates[99].Err, ErrTooMany) || candidates[99].Untrusted {
		t.Errorf("%d were judged, %v, %+v", asked, err, candidates[99])
	}
	if best := Choose(candidates); best == nil || best.Source != "good" {
		t.Errorf("%+v is chosen", best)
	}
}
