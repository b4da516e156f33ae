package saslrelay

import "testing"

func TestStrip(t *testing.T) {
	for _, tc := range []struct{ mechanism, response, want string }{
		{"PLAIN", "\x00alice+raw\x00secret", "\x00alice\x00secret"},
		{"PLAIN", "bob+raw\x00admin\x00secret+raw", "bob\x00admin\x00secret+raw"},
		{"PLAIN", "\x00alice\x00secret+raw", ""},
		{"PLAIN", "\x00+raw\x00secret", ""},
		{"PLAIN", "alice+raw", ""},
		{"LOGIN", "alice+raw", "alice"},
		{"LOGIN", "+raw", ""},
		{"XOAUTH2", "user=alice+raw\x01auth=Bearer t+raw\x01\x01", "user=alice\x01auth=Bearer t+raw\x01\x01"},
		{"OAUTHBEARER", "n,a=alice+raw,\x01host=x\x01auth=Bearer t\x01\x01", "n,a=alice,\x01host=x\x01auth=Bearer t\x01\x01"},
		{"OAUTHBEARER", "n,,\x01auth=Bearer t+raw\x01\x01", ""},
		{"OAUTHBEARER", "", ""},
		{"CRAM-MD5", "alice+raw 0123", "alice 0123"},
		{"SCRAM-SHA-256", "n,,n=alice+raw,r=nonce", ""},
	} {
		var n Name
		got, ok := n.Strip(tc.mechanism, []byte(tc.response), "+raw")
		if string(got) != tc.want || ok != (tc.want != "") {
			t.Errorf("%s %q: %q %v", tc.mechanism, tc.response, got, ok)
		}
	}
	n := Name{steps: 1}
	if _, ok := n.Strip("LOGIN", []byte("password+raw"), "+raw"); ok {
		t.Error("a password was changed")
	}
	if _, ok := new(Name).Strip("LOGIN", []byte("alice"), ""); ok {
		t.Error("nothing was found")
	}
}
