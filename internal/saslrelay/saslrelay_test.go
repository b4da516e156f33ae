package saslrelay

import (
	"slices"
	"testing"
)

func TestOffered(t *testing.T) {
	for _, tc := range []struct{ upstream, want []string }{
		{[]string{"PLAIN", "GSSAPI", "EXTERNAL", "LOGIN"}, []string{"PLAIN", "LOGIN"}},
		{[]string{"SCRAM-SHA-256", "PLAIN"}, []string{"SCRAM-SHA-256", "PLAIN"}},
		{[]string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN"}, []string{"PLAIN"}},
		{nil, nil},
	} {
		if got := Offered(tc.upstream); !slices.Equal(got, tc.want) {
			t.Errorf("%v: %v, want %v", tc.upstream, got, tc.want)
		}
	}
}

func TestName(t *testing.T) {
	for _, tc := range []struct {
		mechanism string
		responses []string
		want      string
	}{
		{"PLAIN", []string{"\x00alice\x00secret"}, "alice"},
		{"PLAIN", []string{"bob\x00admin\x00secret"}, "admin"}, // who may not have Bob's keys
		{"PLAIN", []string{"nonsense"}, ""},
		{"LOGIN", []string{"alice", "secret"}, "alice"},

		{"XOAUTH2", []string{"user=alice@example.org\x01auth=Bearer token\x01\x01"}, "alice@example.org"},
		{"OAUTHBEARER", []string{"n,a=alice@example.org,\x01host=x\x01auth=Bearer t\x01\x01"}, "alice@example.org"},
		{"SCRAM-SHA-256", []string{"n,,n=al=2Cice,r=nonce", "c=biws,r=x,p=y"}, "al,ice"},
		{"SCRAM-SHA-1", []string{"n,a=bob,n=alice,r=nonce"}, "alice"},
		{"SCRAM-SHA-1", []string{"y,,r=nonce"}, ""},
		{"CRAM-MD5", []string{"alice smith 0123456789abcdef"}, "alice smith"},
		{"GSSAPI", []string{"x"}, ""},
		{"SCRAM-SHA-1", []string{""}, ""},
	} {
		var n Name
		n.See(tc.mechanism, nil) // no initial response
		for _, r := range tc.responses {
			n.See(tc.mechanism, []byte(r))
		}
		if n.String() != tc.want {
			t.Errorf("%s %q: %q, want %q", tc.mechanism, tc.responses, n.String(), tc.want)
		}
	}
}

func TestPassword(t *testing.T) {
	for _, tc := range []struct {
		mechanism string
		responses []string
		want      string
	}{
		{"PLAIN", []string{"\x00alice\x00secret"}, "secret"},
		{"PLAIN", []string{"alice\x00alice\x00secret"}, "secret"},
		{"PLAIN", []string{"bob\x00admin\x00secret"}, "secret"}, // of admin
		{"PLAIN", []string{"nonsense"}, ""},
		{"LOGIN", []string{"alice", "secret"}, "secret"},
		{"LOGIN", []string{"alice"}, ""},
		{"XOAUTH2", []string{"user=alice@example.org\x01auth=Bearer token\x01\x01"}, ""},
		{"OAUTHBEARER", []string{"n,a=alice@example.org,\x01host=x\x01auth=Bearer t\x01\x01"}, ""},
		{"CRAM-MD5", []string{"alice 0123456789abcdef"}, ""},
	} {
		var n Name
		for _, r := range tc.responses {
			n.See(tc.mechanism, []byte(r))
		}
		if n.Password() != tc.want {
			t.Errorf("%s %q: %q, want %q", tc.mechanism, tc.responses, n.Password(), tc.want)
		}
	}
}
