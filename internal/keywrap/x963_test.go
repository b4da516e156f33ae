package keywrap

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"testing"
)

// Answers of the NIST CAVP file ansx963_2001.
func TestX963(t *testing.T) {
	for i, v := range []struct {
		hash              func() hash.Hash
		secret, info, key string
	}{
		{sha1.New, "1c7d7b5f0597b03d06a018466ed1a93e30ed4b04dc64ccdd", "", "bf71dffd8f4d99223936beb46fee8ccc"},
		{sha1.New, "fd17198b89ab39c4ab5d7cca363b82f9fd7e23c3984dc8a2", "856a53f3e36a26bbc5792879f307cce2",
			"6e5fad865cb4a51c95209b16df0cc490bc2c9064405c5bccd4ee4832a531fbe7f10cb79e2eab6ab1149fbd5a23cfdabc" +
				"41242269c9df22f628c4424333855b64e95e2d4fb8469c669f17176c07d103376b10b384ec5763d8b8c610409f19aca8" +
				"eb31f9d85cc61a8d6d4a03d03e5a506b78d6847e93d295ee548c65afedd2efec"},
		{sha256.New224, "da67a73072d521a8272c69023573012ddf9b46bff65b3900", "727997aed53e78f74b1d66743a4ea4d2",
			"dfc3126c5eebf9a58d89730e8d8ff7cc772592f28c10b349b437d9d068698a22e532eae975dfaf9c5c6a9f2935eafb05" +
				"353013c253444e61f07bc9ddd15948e614bdc7e445ba3b1893f42f87f18fb352d49956009a642c362d45410b43a9ab37" +
				"6e9261210739174759511d1f9e52f6ec73dfed446dbafaf7fd1a57113abc2e8d"},
		{sha256.New, "96c05619d56c328ab95fe84b18264b08725b85e33fd34f08", "", "443024c3dae66b95e6f5670601558f71"},
		{sha256.New, "22518b10e70f2a3f243810ae3254139efbee04aa57c7af7d", "75eef81aa3041e33b80971203d2c0c52",
			"c498af77161cc59f2962b9a713e2b215152d139766ce34a776df11866a69bf2e52a13d9c7c6fc878c50c5ea0bc7b00e0" +
				"da2447cfd874f6cf92f30d0097111485500c90c3af8b487872d04685d14c8d1dc8d7fa08beb0ce0ababc11f0bd496269" +
				"142d43525a78e5bc79a17f59676a5706dc54d54d4d1f0bd7e386128ec26afc21"},
		{sha512.New384, "d8554db1b392cd55c3fe957bed76af09c13ac2a9392f88f6", "", "671a46aada145162f8ddf1ca586a1cda"},
	} {
		want := unhex(t, v.key)
		secret, info := unhex(t, v.secret), unhex(t, v.info)
		if got := X963(v.hash, secret, info, len(want)); !bytes.Equal(got, want) {
			t.Errorf("answer %d is %x, want %x", i, got, want)
		}
		for n := range want {
			got := X963(v.hash, secret, info, n)
			if !bytes.Equal(got, want[:n]) || (got == nil) != (n == 0) {
				t.Errorf("answer %d cut to %d octets is %x", i, n, got)
			}
		}
	}
	if X963(sha256.New, nil, nil, -1) != nil {
		t.Error("a negative size gave octets")
	}
}
